// CHECK(condition): our own bugs stop the process, in every build, with the place and the words.
//
// For what the world can get wrong use base::Result; memory that another process can write is
// validated, never CHECKed.
#pragma once

namespace nacelle::base {

[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace nacelle::base

#define CHECK(condition)              \
  (__builtin_expect(!!(condition), 1) \
       ? static_cast<void>(0)         \
       : ::nacelle::base::check_failed(__FILE__, __LINE__, #condition))
