// What the C library and gRPC's own locks do by default, and what a process through which calls and
// tensors pass wants instead.
#pragma once

namespace inferpool {

// Call it first, before any thread.
//
// glibc gives every block of some megabytes back to the kernel when it is freed, and gets the next
// one anew, page by page: that took more of a 4.9 MB call's processor time than all its copies
// together (bench/wire). After this the process keeps up to 256 MiB that it has freed for what
// comes next.
//
// Debian builds Abseil without NDEBUG: every mutex that gRPC locks is entered in a graph of lock
// orders, under one lock for the whole process, and a cycle aborts it. After this none is.
void TuneRuntime();

}  // namespace inferpool
