// The few lines of a test framework that the kernels' tests need.
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);  \
      exit(1);                                                                       \
    }                                                                                \
  } while (0)

#define CHECK_CLOSE(actual, expected, tolerance)                                                              \
  do {                                                                                                        \
    const double a_ = double(actual), e_ = double(expected);                                                  \
    if (!(fabs(a_ - e_) <= (tolerance) * (1.0 + fabs(e_))) && !(isnan(a_) && isnan(e_)) && !(a_ == e_)) {     \
      fprintf(stderr, "%s:%d: %s is %.17g, not %.17g\n", __FILE__, __LINE__, #actual, a_, e_);                \
      exit(1);                                                                                                \
    }                                                                                                         \
  } while (0)
