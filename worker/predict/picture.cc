#include "worker/predict/picture.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "shared/pictures/decode.h"
#include "worker/predict/faults.h"
#include "worker/predict/picture_cost.h"

namespace inferpool::predict {
namespace {

std::optional<http::Problem> CheckPixels(const vision::Header& header, int max_pixels) {
  const std::int64_t pixels = std::int64_t{header.width} * header.height;
  if (pixels <= max_pixels) return std::nullopt;
  return http::PictureProblem(
      absl::OutOfRangeError(fmt::format("the picture has {} x {} = {} pixels, allowed are {}",
                                        header.width, header.height, pixels, max_pixels)));
}

}  // namespace

std::optional<http::Problem> TooLate(const backend::CallLimits& limits, const std::string& model) {
  if (limits.departed.stop_requested()) return http::ClientLeft();
  if (!limits.deadline.Expired(Clock::now())) return std::nullopt;
  return http::BackendProblem(absl::DeadlineExceededError(""), model);
}

std::optional<http::Problem> Blame(const http::Exchange& exchange, const http::Services& services,
                                   const Digest& picture, const std::string& model,
                                   Seqlock<Task>& task) {
  if (services.quarantine.Has(picture, model, Clock::now())) return http::Quarantined();
  task.Store(
      {.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = picture});
  exchange.thread_slot.NewStep(Clock::now());
  return std::nullopt;
}

std::variant<Picture, http::Problem> OpenPicture(const http::Exchange& exchange,
                                                 const http::Services& services,
                                                 std::string_view file, const std::string& model,
                                                 Seqlock<Task>& task) {
  Picture picture{.file = file, .digest = services.quarantine.DigestOf(file)};
  if (auto problem = Blame(exchange, services, picture.digest, model, task)) {
    return *std::move(problem);
  }
  InjectFault(file);
  const absl::StatusOr<vision::Header> header = vision::ReadHeader(file);
  if (!header.ok()) return http::PictureProblem(header.status());
  if (auto problem = CheckPixels(*header, services.config.limits.pixels)) {
    return *std::move(problem);
  }
  picture.header = *header;
  picture.size = vision::UprightSize(*header);
  return picture;
}

std::variant<Pixels, http::Problem> DecodePicture(const http::Exchange& exchange,
                                                  const Picture& picture, int reduction,
                                                  const std::string& model,
                                                  http::StageTimes& times) {
  const auto& [file, digest, header, size] = picture;
  auto step = BeginStep(exchange.heavy, DecodeCost(file, header, reduction), exchange.patience());
  if (!step.ok()) return http::HeavyProblem(step.status());
  const http::StageTimer timer(times, Stage::kDecode);
  absl::StatusOr<cv::Mat> decoded =
      vision::Decode(file, header, reduction, exchange.limits.deadline);
  if (absl::IsDeadlineExceeded(decoded.status())) {
    return http::BackendProblem(decoded.status(), model);
  }
  if (!decoded.ok()) return http::PictureProblem(decoded.status());
  return Pixels{*std::move(decoded), *std::move(step)};
}

}  // namespace inferpool::predict
