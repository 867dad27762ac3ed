// The names by which processes at one Redis know each other.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::streams {

std::string HostName();

// A new name for this process: it says on which machine it runs, with which pid, and a hash of how
// its pool is set up.
std::string MakeProcessName(std::string_view setup);

// Whether the names are those of processes whose pools are set up differently. False when one of
// them does not say.
bool AreSetUpDifferently(std::string_view name, std::string_view other);

// Whether the name is that of a process of this machine that is no more. False when that cannot be
// known, as of other machines and containers; and when another process has got the pid by now.
bool IsOfDeadProcess(std::string_view name);

}  // namespace inferpool::streams
