"""All SQL of durable work, by subject; each statement says in one line what it is for."""

from gateway.operations.queries.jobs import *
from gateway.operations.queries.works import *
