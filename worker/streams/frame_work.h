// The way of a frame from its bytes to an answer: the same that a picture goes which comes by HTTP.
#pragma once

#include "shared/board/scoreboard.h"
#include "worker/http/exchange.h"
#include "worker/streams/frame.h"

namespace inferpool::streams {

// Works on the frame in the calling thread, whose slot it is. The crash handler knows the frame as
// RequestNameOf(frame) from here on. Never fails: what goes wrong is the outcome.
Outcome WorkOn(Frame frame, const http::Services& services, ThreadSlot& thread_slot);

RequestName RequestNameOf(const Frame& frame);

}  // namespace inferpool::streams
