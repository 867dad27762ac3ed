#include "worker/api/predictor.h"

#include <fmt/format.h>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "worker/vision/decode.h"
#include "worker/vision/header.h"
#include "worker/vision/letterbox.h"

namespace inferpool::api {
namespace {

std::optional<Problem> CheckPixels(const vision::Header& header, int most) {
  const std::int64_t pixels = std::int64_t{header.width} * header.height;
  if (pixels <= most) return std::nullopt;
  return PictureProblem(
      absl::OutOfRangeError(fmt::format("the picture has {} x {} = {} pixels, allowed are {}",
                                        header.width, header.height, pixels, most)));
}

// The request for one picture; its tensor is written where gRPC will send it from.
absl::StatusOr<inference::ModelInferRequest> MakeRequest(const std::string& model,
                                                         const vision::Plan& plan,
                                                         const vision::Placement& placement,
                                                         const cv::Mat& pixels) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  std::vector<std::int64_t> shape = vision::RowShape(plan, placement.input, 0);
  if (plan.has_batch_dimension) shape.insert(shape.begin(), 1);
  std::string& row =
      AddRawInput(request, plan.input_name, ParseDatatype(vision::WireDatatype(plan)), shape);
  row.resize(vision::RowBytes(plan.input, placement.input));
  RETURN_IF_ERROR(
      vision::WriteInput(pixels, placement, plan.input, std::as_writable_bytes(std::span(row))));
  for (const std::string& output : plan.outputs) request.add_outputs()->set_name(output);
  return request;
}

absl::StatusOr<vision::Result> ReadResult(const vision::Plan& plan,
                                          const inference::ModelInferResponse& response,
                                          const vision::Placement& placement,
                                          const PredictParameters& parameters) {
  const absl::StatusOr<TensorList> outputs = ReadOutputs(response);
  if (!outputs.ok()) return outputs.status();
  std::vector<vision::TensorView> views;
  for (const TensorView& tensor : outputs->tensors()) {
    views.push_back({.name = tensor.name,
                     .datatype = DatatypeName(tensor.datatype),
                     .shape = {tensor.shape.begin(), tensor.shape.end()},
                     .data = tensor.data});
  }
  return vision::Postprocess(
      plan, views, placement,
      {.confidence = static_cast<float>(parameters.confidence),
       .iou = static_cast<float>(parameters.iou),
       .max_detections = static_cast<std::size_t>(parameters.max_detections)});
}

}  // namespace

std::variant<Prediction, Problem> Predictor::Predict(const std::string& model,
                                                     std::string_view picture,
                                                     const PredictParameters& parameters,
                                                     const backend::CallLimits& limits,
                                                     Timings& timings) const {
  const absl::StatusOr<vision::Header> header = vision::ReadHeader(picture);
  if (!header.ok()) return PictureProblem(header.status());
  if (auto problem = CheckPixels(*header, config_.limits.pixels)) return *std::move(problem);

  const auto known = catalog_.Get(model, limits.deadline);
  if (!known.ok()) return BackendProblem(known.status(), model);
  const absl::StatusOr<vision::Plan>& plan = (*known)->plan;
  if (!plan.ok()) return BackendProblem(plan.status(), model);

  absl::StatusOr<cv::Mat> pixels;
  {
    const StageTimer timer(timings, Stage::kDecode);
    pixels = vision::Decode(picture, *header);
  }
  if (!pixels.ok()) return PictureProblem(pixels.status());

  if (limits.departed.stop_requested()) return ClientLeft();

  const vision::Placement placement = vision::Place(plan->input, vision::UprightSize(*header));
  absl::StatusOr<inference::ModelInferRequest> request;
  {
    const StageTimer timer(timings, Stage::kPreprocess);
    request = MakeRequest(model, *plan, placement, *pixels);
  }
  if (!request.ok()) return PictureProblem(request.status());

  absl::StatusOr<inference::ModelInferResponse> response;
  {
    const StageTimer timer(timings, Stage::kInfer);
    response = client_.Infer(*request, limits);
  }
  if (!response.ok()) {
    // The model may be gone, or another one by now.
    if (!absl::IsUnavailable(response.status()) && !absl::IsCancelled(response.status())) {
      catalog_.Forget(model);
    }
    return BackendProblem(response.status(), model);
  }

  absl::StatusOr<vision::Result> result;
  {
    const StageTimer timer(timings, Stage::kPostprocess);
    result = ReadResult(*plan, *response, placement, parameters);
  }
  if (!result.ok()) {
    catalog_.Forget(model);
    return BackendProblem(result.status(), model);
  }
  return Prediction{*known, response->model_version(), placement.picture, *std::move(result)};
}

}  // namespace inferpool::api
