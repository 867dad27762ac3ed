// The way of a frame from its bytes to an answer: the same that a picture goes which comes by HTTP.
#pragma once

#include "shared/board/scoreboard.h"
#include "shared/frames/segments.h"
#include "worker/http/exchange.h"
#include "worker/streams/frame.h"

namespace inferpool::streams {

// Works on the frame in the calling thread, whose slot it is. The crash handler knows the frame as
// RequestNameOf(frame) from here on. A frame in shared memory is looked for in `segments`. Never
// fails: what goes wrong is the outcome.
Outcome WorkOn(Frame frame, const http::Services& services, frames::Segments& segments,
               ThreadSlot& thread_slot);

RequestName RequestNameOf(const Frame& frame);

}  // namespace inferpool::streams
