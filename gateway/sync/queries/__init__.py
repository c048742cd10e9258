"""All SQL of the calendar and of the monthly work, by subject."""

from gateway.sync.queries.alerts import *
from gateway.sync.queries.calendar import *
from gateway.sync.queries.months import *
from gateway.sync.queries.retention import *
