/* The calls whose instructions callgrind counts: it looks on while they run, and writes down what it saw. */
#include <valgrind/callgrind.h>

extern void *PyObject_CallObject(void *callable, void *arguments);
extern void Py_DecRef(void *object);

int cpool_counted(void *callable, long n)
{
    int failed = 0;
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    for (long i = 0; i < n && !failed; i++) {
        void *result = PyObject_CallObject(callable, 0);
        if (result)
            Py_DecRef(result);
        else
            failed = 1;
    }
    CALLGRIND_DUMP_STATS;
    CALLGRIND_STOP_INSTRUMENTATION;
    return failed;
}
