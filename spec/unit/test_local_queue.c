/* The queues, data and lists of memory: once more, on local: the two are one semantics. */
#include "local_fixture.h"

#include "test_memory.c" /* NOLINT(bugprone-suspicious-include) */
