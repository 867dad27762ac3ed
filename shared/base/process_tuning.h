// Settings of the C library and of gRPC's locks for a process that passes calls and tensors on.
#pragma once

namespace inferpool {

// Call it first, before any thread starts. It changes two defaults:
//
// glibc returns every freed block of some megabytes to the kernel and gets the next one from there
// again, page by page. That took more processor time of a 4.9 MB call than all its copies together
// (bench/wire). With this call, the process keeps up to 256 MiB of freed memory for later use.
//
// Debian builds Abseil without NDEBUG, so every mutex that gRPC locks is entered in a graph of lock
// orders, under one lock for the whole process, and a cycle aborts the process. With this call,
// Abseil keeps no such graph.
void TuneProcess();

}  // namespace inferpool
