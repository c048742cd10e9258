"""All SQL of ДН lists, by subject; each statement says in one line what it is for."""

from gateway.lists.queries.changed import *
from gateway.lists.queries.closes import *
from gateway.lists.queries.entries import *
from gateway.lists.queries.exported import *
from gateway.lists.queries.frozen import *
from gateway.lists.queries.history import *
from gateway.lists.queries.indicators import *
from gateway.lists.queries.marked import *
from gateway.lists.queries.moved import *
from gateway.lists.queries.shared import *
from gateway.lists.queries.uploaded import *
