// For tests of what only root can do, such as changing the user. For others they are skipped, and
// ops/test says so.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#define SKIP_UNLESS_ROOT(what) \
  if (geteuid() != 0) GTEST_SKIP() << "only root can " << (what)
