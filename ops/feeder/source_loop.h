// The life of a source: opened, read at its pace, opened again.
#pragma once

#include <cstddef>
#include <stop_token>

#include "ops/feeder/outbox.h"
#include "ops/feeder/progress.h"
#include "ops/feeder/settings.h"

namespace inferpool::feeder {

// Puts the pictures of `source` into its queue of `outbox`, until `stop`, or until it is at its
// end. A camera that is away is opened again with growing pauses. Returns false when a recording
// could not be read to its end.
bool RunSource(const Source& source, std::size_t number, std::chrono::milliseconds patience,
               Outbox& outbox, Counters& counters, const std::stop_token& stop);

}  // namespace inferpool::feeder
