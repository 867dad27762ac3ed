// The way of frames from their bytes to answers: the same that a picture goes which comes by HTTP.
#pragma once

#include <vector>

#include "shared/board/scoreboard.h"
#include "shared/frames/segments.h"
#include "worker/http/exchange.h"
#include "worker/streams/frame.h"

namespace inferpool::streams {

// Works on the frames in the calling thread, whose slot it is, and asks a model about all of its
// frames in one call. The crash handler knows each as RequestNameOf(frame) while the thread is at
// it. Those in shared memory are looked for in `segments`. Never fails: what goes wrong is a
// frame's outcome. The outcomes are in the frames' order.
std::vector<Outcome> WorkOn(std::vector<Frame> frames, const http::Services& services,
                            frames::Segments& segments, ThreadSlot& thread_slot);

RequestName RequestNameOf(const Frame& frame);

}  // namespace inferpool::streams
