/* What the tests can only do from C: change floating-point control words, and fork behind Python's back. */
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
int native_has_mode(void) { return 1; }
uint32_t native_mode(void) { return _mm_getcsr(); }
void native_set_mode(uint32_t mode) { _mm_setcsr(mode); }
#else
int native_has_mode(void) { return 0; }
uint32_t native_mode(void) { return 0; }
void native_set_mode(uint32_t mode) { (void)mode; }
#endif

/* Python's own hooks don't see this fork. */
int native_fork(void) { return (int)fork(); }
