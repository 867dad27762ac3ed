// The names by which processes at one Redis know each other.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::streams {

std::string HostName();

// A new name for this process: it says on which machine it runs, and with which pid.
std::string MakeProcessName();

// Whether the name is that of a process of this machine that is no more. False when that cannot be
// known, as of other machines and containers; and when another process has got the pid by now.
bool IsOfDeadProcess(std::string_view name);

}  // namespace inferpool::streams
