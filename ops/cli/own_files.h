// Where our files lie, by where the running program lies: so a build works in its folder, and what
// is installed works wherever its tree was put.
#pragma once

#include <string>

namespace inferpool::ops {

// The running program's file.
std::string OwnProgram();

// The model server's: beside ours, as it is built, or in libexec, as it is installed. The answer to
// the first call stays.
std::string ModelServerProgram();

// The folder of `pages`, `swagger-ui` and the sample models, each of which may be missing.
std::string DataFolder();

}  // namespace inferpool::ops
