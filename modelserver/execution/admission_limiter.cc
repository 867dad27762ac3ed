#include "modelserver/execution/admission_limiter.h"

namespace inferpool::modelserver {
namespace {

// Whether a model that has `own` leaves, with `more`, as much of `max` unused as it then has.
bool Fits(std::size_t own, std::size_t more, std::size_t admitted, std::size_t max) {
  admitted += more;
  return admitted <= max && own + more <= max - admitted;
}

}  // namespace

bool ModelQuota::Admit(std::size_t bytes) {
  const MutexLock lock(limiter_.mutex_);
  InFlight& admitted = limiter_.admitted_;
  const InFlight& max = limiter_.max_;
  if (own_.requests >= guaranteed_ && !(Fits(own_.requests, 1, admitted.requests, max.requests) &&
                                        Fits(own_.bytes, bytes, admitted.bytes, max.bytes))) {
    return false;
  }
  for (InFlight* amount : {&own_, &admitted}) {
    ++amount->requests;
    amount->bytes += bytes;
  }
  return true;
}

void ModelQuota::Release(std::size_t bytes) {
  const MutexLock lock(limiter_.mutex_);
  for (InFlight* amount : {&own_, &limiter_.admitted_}) {
    --amount->requests;
    amount->bytes -= bytes;
  }
}

}  // namespace inferpool::modelserver
