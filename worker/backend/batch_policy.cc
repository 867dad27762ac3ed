#include "worker/backend/batch_policy.h"

#include <algorithm>

namespace inferpool::backend {

BatchPolicy::Part BatchPolicy::Arrive(std::span<const std::int64_t> shape, Deadline deadline,
                                      TimePoint now) {
  if (!open_) {
    if (out_ == 0 || limits_.max_rows <= 1) {
      ++out_;
      return Part::kAlone;
    }
    open_ = Open{.shape = {shape.begin(), shape.end()},
                 .leader = deadline,
                 .send_at = now + limits_.wait,
                 .max_rows = limits_.max_rows};
    return Part::kLead;
  }
  if (!std::ranges::equal(open_->shape, shape) ||
      open_->leader.Left(now) < deadline.Left(now) / 2) {
    ++out_;
    return Part::kAlone;
  }
  if (++open_->rows == open_->max_rows) Close();
  return Part::kFollow;
}

void BatchPolicy::Limit(int rows) {
  open_->max_rows = std::min(open_->max_rows, rows);
  if (open_->rows >= open_->max_rows) Close();
}

TimePoint BatchPolicy::SendAt() const {
  return open_->send_at;
}

void BatchPolicy::Close() {
  open_.reset();
  ++out_;
}

void BatchPolicy::Back() {
  --out_;
  if (open_) open_->send_at = TimePoint::min();
}

}  // namespace inferpool::backend
