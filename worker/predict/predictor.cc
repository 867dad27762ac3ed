#include "worker/predict/predictor.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/predict/picture_cost.h"
#include "worker/vision/letterbox.h"
#include "worker/vision/reduction.h"

namespace inferpool::api {
namespace {

std::optional<Problem> CheckPixels(const vision::Header& header, int most) {
  const std::int64_t pixels = std::int64_t{header.width} * header.height;
  if (pixels <= most) return std::nullopt;
  return PictureProblem(
      absl::OutOfRangeError(fmt::format("the picture has {} x {} = {} pixels, allowed are {}",
                                        header.width, header.height, pixels, most)));
}

// Writes one picture's input. `pixels` is empty for a model that takes the file.
absl::Status Write(const vision::Plan& plan, std::string_view picture, const cv::Mat& pixels,
                   const vision::Placement& placement, std::span<std::byte> row) {
  if (plan.feed == vision::Feed::kPixels) {
    return vision::WriteInput(pixels, placement, plan.input, row);
  }
  if (plan.feed == vision::Feed::kBytes) {
    const auto length = static_cast<std::uint32_t>(picture.size());
    std::memcpy(row.data(), &length, sizeof length);
    row = row.subspan(sizeof length);
  }
  std::memcpy(row.data(), picture.data(), picture.size());
  return absl::OkStatus();
}

std::size_t InputBytes(const vision::Plan& plan, std::string_view picture,
                       const vision::Placement& placement) {
  switch (plan.feed) {
    case vision::Feed::kBytes:
      return sizeof(std::uint32_t) + picture.size();
    case vision::Feed::kOctets:
      return picture.size();
    case vision::Feed::kPixels:
      break;
  }
  return vision::RowBytes(plan.input, placement.input);
}

absl::StatusOr<vision::Result> ReadResult(const vision::Plan& plan,
                                          const backend::Aggregator::RowAnswer& row,
                                          const vision::Placement& placement,
                                          const PredictParameters& parameters) {
  std::vector<TensorView> views = row.answer->tensors();
  std::vector<std::vector<std::int64_t>> shapes;  // which views of one row of several point to
  shapes.reserve(views.size());
  for (TensorView& view : views) {
    if (row.rows > 1) {
      ASSIGN_OR_RETURN(view.data, backend::RowOf(view, row.rows, row.row));
      view.shape = shapes.emplace_back(view.shape.begin(), view.shape.end());
      shapes.back().front() = 1;
    }
  }
  return vision::Postprocess(
      plan, views, placement,
      {.confidence = static_cast<float>(parameters.confidence),
       .iou = static_cast<float>(parameters.iou),
       .max_detections = static_cast<std::size_t>(parameters.max_detections)});
}

// What the model server says of a picture that it was to decode itself.
Problem InferProblem(const vision::Plan& plan, const absl::Status& status,
                     const std::string& model) {
  if (plan.feed != vision::Feed::kPixels && absl::IsInvalidArgument(status)) {
    return PictureProblem(status);
  }
  return BackendProblem(status, model);
}

}  // namespace

std::optional<Problem> TooLate(const backend::CallLimits& limits, const std::string& model) {
  if (limits.departed.stop_requested()) return ClientLeft();
  if (!limits.deadline.Expired(Clock::now())) return std::nullopt;
  return BackendProblem(absl::DeadlineExceededError(""), model);
}

Problem HeavyProblem(const absl::Status& status) {
  return absl::IsCancelled(status) ? ClientLeft() : Overloaded(std::string(Message(status)));
}

std::variant<Prediction, Problem> Predictor::Predict(const std::string& model,
                                                     std::string_view picture,
                                                     const PredictParameters& parameters,
                                                     bool keep_pixels, HeavySteps& heavy,
                                                     const backend::CallLimits& limits,
                                                     Timings& timings) const {
  const absl::StatusOr<vision::Header> header = vision::ReadHeader(picture);
  if (!header.ok()) return PictureProblem(header.status());
  if (auto problem = CheckPixels(*header, config_.limits.pixels)) return *std::move(problem);

  const auto known = catalog_.Get(model, limits.deadline);
  if (!known.ok()) return BackendProblem(known.status(), model);
  const absl::StatusOr<vision::Plan>& plan = (*known)->plan;
  if (!plan.ok()) return BackendProblem(plan.status(), model);

  // A refusal is prompt, however large the picture.
  if (const absl::Status admits = inference_.CheckAdmits(); !admits.ok()) {
    return BackendProblem(admits, model);
  }

  // A batch's later pictures may be.
  if (auto problem = TooLate(limits, model)) return *std::move(problem);

  vision::Placement placement = vision::Place(plan->input, vision::UprightSize(*header));
  cv::Mat pixels;
  HeavyStep step;
  const bool decodes = plan->feed == vision::Feed::kPixels;
  if (decodes && config_.decode.reduced) placement = vision::Reduce(*header, placement);
  // What the embedded model server decodes is this machine's work too: until it has answered.
  if (decodes || config_.modelserver.enabled) {
    const PictureCost cost = DecodeCost(picture, *header, placement.reduction);
    auto begun = BeginStep(heavy, cost, {.deadline = limits.deadline, .departed = limits.departed});
    if (!begun.ok()) return HeavyProblem(begun.status());
    step = *std::move(begun);
  }
  if (decodes) {
    const StageTimer timer(timings, Stage::kDecode);
    absl::StatusOr<cv::Mat> decoded =
        vision::Decode(picture, *header, placement.reduction, limits.deadline);
    if (absl::IsDeadlineExceeded(decoded.status())) return BackendProblem(decoded.status(), model);
    if (!decoded.ok()) return PictureProblem(decoded.status());
    pixels = *std::move(decoded);
  }

  if (auto problem = TooLate(limits, model)) return *std::move(problem);

  std::optional<StageTimer> preprocess(std::in_place, timings, Stage::kPreprocess);
  absl::StatusOr<backend::Inference::Row> row =
      inference_.Begin(*known, vision::RowShape(*plan, placement.input, picture.size()),
                       InputBytes(*plan, picture, placement), limits);
  if (!row.ok()) return Overloaded(std::string(Message(row.status())));
  const absl::Status written = Write(*plan, picture, pixels, placement, row->bytes());
  if (!written.ok()) return PictureProblem(written);
  if (decodes) {
    if (!keep_pixels) {
      pixels.release();
      step = HeavyStep();
    }
    step.Keep(pixels.total() * pixels.elemSize());
  }
  preprocess.reset();

  absl::StatusOr<backend::Aggregator::RowAnswer> answer;
  {
    const StageTimer timer(timings, Stage::kInfer);
    answer = row->Infer();
  }
  if (!decodes) step = HeavyStep();
  if (!answer.ok()) {
    // The model may be gone, or another one by now.
    if (!absl::IsUnavailable(answer.status()) && !absl::IsCancelled(answer.status()) &&
        !absl::IsDeadlineExceeded(answer.status())) {
      catalog_.Forget(model);
    }
    return InferProblem(*plan, answer.status(), model);
  }

  absl::StatusOr<vision::Result> result;
  {
    const StageTimer timer(timings, Stage::kPostprocess);
    result = ReadResult(*plan, *answer, placement, parameters);
  }
  if (!result.ok()) {
    catalog_.Forget(model);
    return BackendProblem(result.status(), model);
  }
  return Prediction{.model = *known,
                    .version = answer->answer->message().model_version(),
                    .picture = placement.picture,
                    .pixels = std::move(pixels),
                    .step = std::move(step),
                    .result = *std::move(result)};
}

}  // namespace inferpool::api
