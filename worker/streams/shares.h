// Which process looks after which shards. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inferpool::streams {

// The shards that `process` shall have of `shards`, when these processes live. All processes that
// know of the same others agree: each shard has one of them, none has more than one shard more than
// another, and when one comes or goes most shards stay where they are. A process that is not among
// them has none.
std::vector<int> ShareOf(std::string_view process, std::span<const std::string> processes,
                         int shards);

}  // namespace inferpool::streams
