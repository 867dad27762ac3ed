// For processes through which tensors of some megabytes pass.
#pragma once

namespace inferpool {

// glibc gives every block of such a size back to the kernel when it is freed, and gets the next one
// anew, page by page: that took more of a 4.9 MB call's processor time than all its copies together
// (bench/wire). After this the process keeps up to 256 MiB that it has freed for what comes next.
// Call it first, before any thread.
void KeepFreedMemory();

}  // namespace inferpool
