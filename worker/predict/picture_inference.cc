#include "worker/predict/picture_inference.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/predict/faults.h"
#include "worker/predict/picture_cost.h"
#include "worker/vision/letterbox.h"
#include "worker/vision/reduction.h"

namespace inferpool::predict {
namespace {

std::optional<http::Problem> CheckPixels(const vision::Header& header, int max_pixels) {
  const std::int64_t pixels = std::int64_t{header.width} * header.height;
  if (pixels <= max_pixels) return std::nullopt;
  return http::PictureProblem(
      absl::OutOfRangeError(fmt::format("the picture has {} x {} = {} pixels, allowed are {}",
                                        header.width, header.height, pixels, max_pixels)));
}

// Writes one picture's input. `pixels` is empty for a model that takes the file.
absl::Status Write(const vision::ModelPlan& plan, std::string_view picture, const cv::Mat& pixels,
                   const vision::Placement& placement, std::span<std::byte> row) {
  if (plan.input_kind == vision::InputKind::kPixels) {
    return vision::WriteInput(pixels, placement, plan.input, row);
  }
  if (plan.input_kind == vision::InputKind::kFile) {
    const auto length = static_cast<std::uint32_t>(picture.size());
    std::memcpy(row.data(), &length, sizeof length);
    row = row.subspan(sizeof length);
  }
  std::memcpy(row.data(), picture.data(), picture.size());
  return absl::OkStatus();
}

std::size_t InputBytes(const vision::ModelPlan& plan, std::string_view picture,
                       const vision::Placement& placement) {
  switch (plan.input_kind) {
    case vision::InputKind::kFile:
      return sizeof(std::uint32_t) + picture.size();
    case vision::InputKind::kFileBytes:
      return picture.size();
    case vision::InputKind::kPixels:
      break;
  }
  return vision::RowBytes(plan.input, placement.input);
}

absl::StatusOr<vision::Result> ReadResult(const vision::ModelPlan& plan,
                                          const backend::RowAnswer& row,
                                          const vision::Placement& placement,
                                          const http::PredictParameters& parameters) {
  std::vector<TensorView> views = row.answer->tensors();
  std::vector<std::vector<std::int64_t>> shapes;  // of one row of several, to which its views point
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

// A server that decodes the picture itself calls a bad one an invalid argument.
http::Problem InferProblem(const vision::ModelPlan& plan, const absl::Status& status,
                           const std::string& model) {
  if (plan.input_kind != vision::InputKind::kPixels && absl::IsInvalidArgument(status)) {
    return http::PictureProblem(status);
  }
  return http::BackendProblem(status, model);
}

}  // namespace

std::optional<http::Problem> TooLate(const backend::CallLimits& limits, const std::string& model) {
  if (limits.departed.stop_requested()) return http::ClientLeft();
  if (!limits.deadline.Expired(Clock::now())) return std::nullopt;
  return http::BackendProblem(absl::DeadlineExceededError(""), model);
}

namespace {

// Why there is no prediction; with the model and the status when these say that the model may be
// gone, or another one by now.
struct Failure {
  http::Problem problem;
  std::shared_ptr<const backend::Model> model = nullptr;
  absl::Status status = absl::OkStatus();
  bool sent = true;  // the model server was called
};

std::variant<Prediction, Failure> InferOnce(const http::Exchange& exchange,
                                            const http::Services& services,
                                            const PictureQuestion& question, Seqlock<Task>& task,
                                            http::StageTimes& times) {
  const auto& [model, picture, parameters, keep_pixels, given] = question;
  const backend::CallLimits& limits = exchange.limits;

  // From here on a crash is blamed on this picture, unless it is known to crash workers.
  const Digest digest = services.quarantine.DigestOf(picture);
  if (services.quarantine.Has(digest, model, Clock::now())) return Failure{http::Quarantined()};
  task.Store({.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  exchange.thread_slot.NewStep(Clock::now());
  InjectFault(picture);

  const absl::StatusOr<vision::Header> header = vision::ReadHeader(picture);
  if (!header.ok()) return Failure{http::PictureProblem(header.status())};
  if (auto problem = CheckPixels(*header, services.config.limits.pixels)) {
    return Failure{*std::move(problem)};
  }

  absl::StatusOr<std::shared_ptr<const backend::Model>> known = given;
  if (given == nullptr) known = services.catalog.Get(model, limits.deadline);
  if (!known.ok()) return Failure{http::BackendProblem(known.status(), model)};
  const absl::StatusOr<vision::ModelPlan>& plan = (*known)->plan;
  if (!plan.ok()) return Failure{http::PlanProblem(plan.status(), model)};

  // A refusal is prompt, however large the picture.
  if (const absl::Status admits = services.inference.CheckAdmits(**known); !admits.ok()) {
    return Failure{http::BackendProblem(admits, model), *known, admits, /*sent=*/false};
  }

  // In a batch, later pictures can be too late.
  if (auto problem = TooLate(limits, model)) return Failure{*std::move(problem)};

  vision::Placement placement = vision::Place(plan->input, vision::UprightSize(*header));
  cv::Mat pixels;
  HeavyStep step;
  const bool decodes = plan->input_kind == vision::InputKind::kPixels;
  if (decodes && services.config.decode.reduced) placement = vision::Reduce(*header, placement);
  // What the embedded model server decodes is this machine's work too, until it has answered.
  if (decodes || services.config.modelserver.enabled) {
    const PictureCost cost = DecodeCost(picture, *header, placement.reduction);
    auto begun = BeginStep(exchange.heavy, cost, exchange.patience());
    if (!begun.ok()) return Failure{http::HeavyProblem(begun.status())};
    step = *std::move(begun);
  }
  if (decodes) {
    const http::StageTimer timer(times, Stage::kDecode);
    absl::StatusOr<cv::Mat> decoded =
        vision::Decode(picture, *header, placement.reduction, limits.deadline);
    if (absl::IsDeadlineExceeded(decoded.status())) {
      return Failure{http::BackendProblem(decoded.status(), model)};
    }
    if (!decoded.ok()) return Failure{http::PictureProblem(decoded.status())};
    pixels = *std::move(decoded);
  }

  if (auto problem = TooLate(limits, model)) return Failure{*std::move(problem)};

  std::optional<http::StageTimer> preprocess(std::in_place, times, Stage::kPreprocess);
  absl::StatusOr<backend::InferenceClient::Row> row =
      services.inference.Begin(*known, vision::RowShape(*plan, placement.input, picture.size()),
                               InputBytes(*plan, picture, placement), limits);
  if (!row.ok()) return Failure{http::Overloaded(std::string(Message(row.status())))};
  const absl::Status written = Write(*plan, picture, pixels, placement, row->bytes());
  if (!written.ok()) return Failure{http::PictureProblem(written)};
  if (decodes) {
    if (!keep_pixels) {
      pixels.release();
      step = HeavyStep();
    }
    step.Keep(pixels.total() * pixels.elemSize());
  }
  preprocess.reset();

  absl::StatusOr<backend::RowAnswer> answer;
  {
    const http::StageTimer timer(times, Stage::kInfer);
    answer = row->Infer();
  }
  if (!decodes) step = HeavyStep();
  if (!answer.ok()) {
    http::Problem problem = InferProblem(*plan, answer.status(), model);
    // A file that the server cannot decode says nothing of the model.
    if (problem.status == 422) return Failure{std::move(problem)};
    return Failure{std::move(problem), *known, answer.status()};
  }

  absl::StatusOr<vision::Result> result;
  {
    const http::StageTimer timer(times, Stage::kPostprocess);
    result = ReadResult(*plan, *answer, placement, parameters);
  }
  if (!result.ok()) {
    return Failure{http::PlanProblem(result.status(), model), *known, result.status()};
  }
  return Prediction{.model = *known,
                    .version = answer->answer->message().model_version(),
                    .picture = placement.picture,
                    .pixels = std::move(pixels),
                    .step = std::move(step),
                    .result = *std::move(result)};
}

// The model as it is now, when that is worth another try.
std::shared_ptr<const backend::Model> AskAnew(const http::Exchange& exchange,
                                              const http::Services& services,
                                              const std::string& name, const Failure& failure) {
  const auto& [problem, model, status, sent] = failure;
  const Deadline deadline = exchange.limits.deadline;
  const backend::Client& client = services.client;
  // A server without room for a call is not to be asked more.
  if (model == nullptr || absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) ||
      absl::IsResourceExhausted(status)) {
    return nullptr;
  }
  const bool away = absl::IsUnavailable(status);
  if (!away) services.catalog.Renew(*model, deadline);
  if (away || absl::IsNotFound(status)) {
    if (client.targets() == 1) return nullptr;
    if (model->servers.size() == 1 &&
        !client.IsElsewhere(model->servers.front(), {name}, away, deadline)) {
      return nullptr;
    }
  }
  std::optional<std::size_t> avoid;
  if (away && model->servers.size() == 1) avoid = model->servers.front();
  const auto now = services.catalog.Get(name, deadline, avoid);
  if (!now.ok()) return nullptr;
  const bool is_same =
      (*now)->description == model->description && (*now)->servers == model->servers;
  return is_same || (away && sent && !client.MayRepeat()) ? nullptr : *now;
}

}  // namespace

std::variant<Prediction, http::Problem> InferPicture(const http::Exchange& exchange,
                                                     const http::Services& services,
                                                     const PictureQuestion& question,
                                                     Seqlock<Task>& task, http::StageTimes& times) {
  auto first = InferOnce(exchange, services, question, task, times);
  if (auto* prediction = std::get_if<Prediction>(&first)) return std::move(*prediction);
  auto& failure = std::get<Failure>(first);
  PictureQuestion again = question;
  again.known = AskAnew(exchange, services, question.model, failure);
  if (again.known == nullptr) return std::move(failure.problem);
  auto second = InferOnce(exchange, services, again, task, times);
  if (auto* prediction = std::get_if<Prediction>(&second)) return std::move(*prediction);
  return std::move(std::get<Failure>(second).problem);
}

}  // namespace inferpool::predict
