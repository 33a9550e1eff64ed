// Lets the libraries load wherever torch does, from glibc 2.28 on. What is inlined of libstdc++'s shared_ptr asks
// __libc_single_threaded, which glibc has since 2.32, whether a count may change without atomics. This one, seen by our
// library alone, says that it may not.
#include <cstdlib>

#if defined(__GLIBC__)
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
#endif
