// The folder in memory for what nginx cannot hold in its buffers: bodies that are read before a
// worker hears of them, and answers to clients that read slowly. A disk that fills costs no request
// then, and no large upload is written to one.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace inferpool::ops {

// Free memory that /dev/shm must have for it. Docker gives a container 64 MB, which four clients
// with large pictures would fill.
inline constexpr unsigned long kMinMemoryBytes = 1UL << 30;

// Makes it in `shared_memory`, or finds it there, empty but for what an nginx that was killed left:
// "inferpool-nginx-" and the file number of the state folder. Only our user can look into it; those
// of nginx's workers can reach the folders that nginx makes in it. None is made where
// `shared_memory` has not enough room, or where the name is somebody else's.
void MakeMemoryFolder(const Config& config, const std::string& shared_memory = "/dev/shm");

// Where MakeMemoryFolder has made one that is ours, or root's, in which we may make files, and
// `nginx.temporary_files` wants it: its path. Else "tmp", that in the state folder.
std::string TemporaryFolder(const Config& config, const std::string& shared_memory = "/dev/shm");

}  // namespace inferpool::ops
