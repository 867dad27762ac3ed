#include "modelserver/engines/picture_detector.h"

#include <algorithm>
#include <array>
#include <limits>
#include <opencv2/imgproc.hpp>
#include <string_view>

namespace inferpool::modelserver {
namespace {

constexpr std::int64_t kRows = kMaxDetections;

struct TensorSpec {
  std::string_view name;
  inference::DataType datatype;
  std::vector<std::int64_t> dims;
};

const TensorSpec& InputSpec() {
  static const TensorSpec spec = {"image", inference::TYPE_UINT8, {-1, -1, 3}};
  return spec;
}

const std::vector<TensorSpec>& OutputSpecs() {
  static const std::vector<TensorSpec> specs = {
      {"num_dets", inference::TYPE_INT32, {1}},
      {"det_boxes", inference::TYPE_FP32, {kRows, 4}},
      {"det_scores", inference::TYPE_FP32, {kRows}},
      {"det_classes", inference::TYPE_INT32, {kRows}},
  };
  return specs;
}

template <typename Tensor>
void Add(const TensorSpec& spec, google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  Tensor& tensor = *tensors.Add();
  tensor.set_name(std::string(spec.name));
  tensor.set_data_type(spec.datatype);
  tensor.mutable_dims()->Add(spec.dims.begin(), spec.dims.end());
}

template <typename Tensor>
bool Same(const TensorSpec& spec, const Tensor& tensor) {
  return tensor.name() == spec.name && tensor.data_type() == spec.datatype &&
         std::ranges::equal(tensor.dims(), spec.dims);
}

}  // namespace

absl::Status CompletePictureDetector(inference::ModelConfig& config) {
  if (config.input().empty()) {
    Add(InputSpec(), *config.mutable_input());
  }
  if (config.output().empty()) {
    for (const TensorSpec& spec : OutputSpecs()) {
      Add(spec, *config.mutable_output());
    }
  }
  const bool same =
      config.max_batch_size() == 0 && config.input_size() == 1 &&
      Same(InputSpec(), config.input(0)) &&
      std::ranges::equal(OutputSpecs(), config.output(), &Same<inference::ModelOutput>);
  if (!same) {
    return InvalidArgument(
        "backend '{}' has max_batch_size 0, the input image UINT8 [-1,-1,3] and the outputs "
        "num_dets INT32 [1], det_boxes FP32 [{},4], det_scores FP32 [{}], det_classes INT32 [{}]; "
        "leave them out or write the same",
        config.backend(), kRows, kRows, kRows);
  }
  return absl::OkStatus();
}

absl::StatusOr<cv::Mat> PictureOf(const TensorView& image) {
  const std::int64_t height = image.shape[0];
  const std::int64_t width = image.shape[1];
  constexpr std::int64_t kMaxPictureSide = std::numeric_limits<int>::max() / 3;
  if (height > kMaxPictureSide || width > kMaxPictureSide) {
    return InvalidArgument("the picture's side is over {}", kMaxPictureSide);
  }
  if (height == 0 || width == 0) {
    return cv::Mat();
  }
  // cv::Mat has no view of constant pixels; detectors only read.
  return cv::Mat(static_cast<int>(height), static_cast<int>(width), CV_8UC3,
                 const_cast<std::byte*>(image.data.data()));
}

cv::Mat Shrink(const cv::Mat& picture, int max_side, double& scale) {
  scale = std::min(1.0, static_cast<double>(max_side) / std::max(picture.cols, picture.rows));
  if (scale == 1.0) {
    return picture;
  }
  const cv::Size size(std::max(1, cvRound(picture.cols * scale)),
                      std::max(1, cvRound(picture.rows * scale)));
  cv::Mat shrunk;
  cv::resize(picture, shrunk, size, 0, 0, cv::INTER_AREA);
  return shrunk;
}

absl::Status PutDetections(std::vector<Detection> detections, cv::Size picture, Outputs& outputs) {
  std::ranges::stable_sort(detections, std::ranges::greater(), &Detection::score);
  if (detections.size() > kMaxDetections) {
    detections.resize(kMaxDetections);
  }
  const std::vector<std::int32_t> count = {static_cast<std::int32_t>(detections.size())};
  std::vector<float> boxes(kMaxDetections * std::size_t{4});
  std::vector<float> scores(kMaxDetections);
  const std::vector<std::int32_t> classes(kMaxDetections);
  const auto width = static_cast<float>(picture.width);
  const auto height = static_cast<float>(picture.height);
  for (std::size_t i = 0; i < detections.size(); ++i) {
    const cv::Rect2f& box = detections[i].box;
    boxes[4 * i] = std::clamp(box.x, 0.0F, width);
    boxes[4 * i + 1] = std::clamp(box.y, 0.0F, height);
    boxes[4 * i + 2] = std::clamp(box.x + box.width, 0.0F, width);
    boxes[4 * i + 3] = std::clamp(box.y + box.height, 0.0F, height);
    scores[i] = detections[i].score;
  }
  // Outputs stand in this order in the configuration (CompletePictureDetector).
  const std::array<std::span<const std::byte>, 4> values = {
      std::as_bytes(std::span(count)), std::as_bytes(std::span(boxes)),
      std::as_bytes(std::span(scores)), std::as_bytes(std::span(classes))};
  for (std::size_t i = 0; i < values.size(); ++i) {
    RETURN_IF_ERROR(outputs.Put(static_cast<int>(i), OutputSpecs()[i].dims, values[i]));
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver
