#include "modelserver/execution/places.h"

namespace inferpool::modelserver {
namespace {

// Whether as much is left as the model then has.
bool Fits(std::size_t own, std::size_t more, std::size_t taken, std::size_t most) {
  taken += more;
  return taken <= most && own + more <= most - taken;
}

}  // namespace

bool Share::Take(std::size_t bytes) {
  const std::lock_guard lock(places_.mutex_);
  Amount& taken = places_.taken_;
  const Amount& most = places_.most_;
  if (own_.requests >= always_ && !(Fits(own_.requests, 1, taken.requests, most.requests) &&
                                    Fits(own_.bytes, bytes, taken.bytes, most.bytes))) {
    return false;
  }
  for (Amount* amount : {&own_, &taken}) {
    ++amount->requests;
    amount->bytes += bytes;
  }
  return true;
}

Share::Place::Place(Share& share, std::size_t bytes)
    : share_(share), bytes_(bytes), granted_(share.Take(bytes)) {}

Share::Place::~Place() {
  if (!granted_) {
    return;
  }
  const std::lock_guard lock(share_.places_.mutex_);
  for (Amount* amount : {&share_.own_, &share_.places_.taken_}) {
    --amount->requests;
    amount->bytes -= bytes_;
  }
}

}  // namespace inferpool::modelserver
