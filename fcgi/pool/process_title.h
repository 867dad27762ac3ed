// What ps shows of a process: "inferpool: worker 3". Linux shows the memory of the arguments, so
// the title is written there.
#pragma once

#include <string_view>

namespace inferpool::fcgi {

// Once, at the start of main, before anything looks at the environment: its strings, which follow
// the arguments in memory, are moved away to make room.
void InitProcessTitle(int argc, char** argv);

// "inferpool: " and `title`, cut when there is no room; nothing before InitProcessTitle.
void SetProcessTitle(std::string_view title);

}  // namespace inferpool::fcgi
