#include "modelserver/engines/opencv_decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/config_file.h"
#include "modelserver/engines/opencv_guard.h"
#include "modelserver/engines/picture_size.h"
#include "shared/jpeg_scans.h"
#include "shared/plain_png.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kPixelBytes = 3;

template <typename... Args>
absl::Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

// The encoded pictures of a request, one a row.
absl::StatusOr<std::vector<std::string_view>> Pictures(const TensorView& input, std::size_t rows) {
  if (input.datatype == inference::TYPE_STRING) {
    return DecodeBytes(input.data, static_cast<std::int64_t>(rows));
  }
  const std::string_view all(reinterpret_cast<const char*>(input.data.data()), input.data.size());
  const std::size_t bytes = all.size() / rows;
  std::vector<std::string_view> pictures;
  for (std::size_t row = 0; row < rows; ++row) {
    pictures.push_back(all.substr(row * bytes, bytes));
  }
  return pictures;
}

// A file that its own decoder does not know, OpenCV offers to all it has. Two of them take any
// first bytes, and then believe every length: 175 bytes can cost 2 GB.
bool IsForOthers(std::string_view picture) {
  const auto has = [picture](std::size_t at, std::string_view mark) {
    return picture.size() > at && picture.substr(at).starts_with(mark);
  };
  return has(128, "DICM") || has(140, "DTED");
}

// Upright, BGR.
absl::StatusOr<cv::Mat> Decode(std::string_view picture, double max_pixels) {
  const absl::StatusOr<cv::Size> stored = EncodedPictureSize(picture);
  RETURN_IF_ERROR(stored.status());
  const double pixels = static_cast<double>(stored->width) * stored->height;
  if (pixels > max_pixels) {
    return Invalid("the picture has {} x {} pixels, {:.0f} is the most", stored->width,
                   stored->height, max_pixels);
  }
  if (IsForOthers(picture)) {
    return Invalid("the picture is a DICOM or DTED file as well");
  }
  if (picture.starts_with("\xff\xd8") && JpegScans(picture) > kMostJpegScans) {
    return Invalid("the picture has more than {} scans", kMostJpegScans);
  }
  std::string storage;
  if (picture.starts_with("\x89PNG")) {
    picture = PlainPng(picture, storage);
  }
  if (picture.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    return Invalid("the picture has {} bytes", picture.size());
  }
  // imdecode only reads, but a Mat has no const data.
  const cv::Mat bytes(1, static_cast<int>(picture.size()), CV_8UC1,
                      const_cast<char*>(picture.data()));
  cv::Mat bgr;
  try {
    bgr = cv::imdecode(bytes, cv::IMREAD_COLOR);
  } catch (const cv::Exception& error) {
    if (error.code == cv::Error::StsNoMem) {
      throw;
    }
    return Invalid("the picture is broken: {}", error.err);
  }
  const cv::Size lying(stored->height, stored->width);
  if (bgr.type() != CV_8UC3 || (bgr.size() != *stored && bgr.size() != lying)) {
    return Invalid("the picture is broken");
  }
  return bgr;
}

class DecodeEngine : public OneByOneEngine {
 public:
  DecodeEngine(double max_pixels, bool batches) : max_pixels_(max_pixels), batches_(batches) {}

 private:
  absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) override {
    if (!outputs.Wanted(0)) {
      return absl::OkStatus();
    }
    return GuardOpenCv([&] {
      const std::size_t rows =
          batches_ ? static_cast<std::size_t>(inputs.front().shape.front()) : 1;
      const auto pictures = Pictures(inputs.front(), rows);
      RETURN_IF_ERROR(pictures.status());
      return Put(*pictures, outputs);
    });
  }

  absl::Status Put(const std::vector<std::string_view>& pictures, Outputs& outputs) const {
    cv::Size size;
    std::byte* row = nullptr;
    for (const std::string_view picture : pictures) {
      const absl::StatusOr<cv::Mat> bgr = Decode(picture, max_pixels_);
      RETURN_IF_ERROR(bgr.status());
      const std::size_t bytes = bgr->total() * kPixelBytes;
      if (row == nullptr) {
        size = bgr->size();
        std::vector<std::int64_t> shape{size.height, size.width, std::int64_t{kPixelBytes}};
        if (batches_) {
          shape.insert(shape.begin(), static_cast<std::int64_t>(pictures.size()));
        }
        const auto memory = outputs.Add(0, shape, bytes * pictures.size());
        RETURN_IF_ERROR(memory.status());
        row = memory->data();
      } else if (bgr->size() != size) {
        return Invalid("the pictures of a batch differ in their size: {} x {} and {} x {}",
                       size.width, size.height, bgr->cols, bgr->rows);
      }
      cv::Mat rgb(size, CV_8UC3, row);
      cv::cvtColor(*bgr, rgb, cv::COLOR_BGR2RGB);
      row += bytes;
    }
    return absl::OkStatus();
  }

  const double max_pixels_;
  const bool batches_;
};

}  // namespace

absl::Status CompleteDecode(inference::ModelConfig& config) {
  if (config.input().empty()) {
    inference::ModelInput& input = *config.add_input();
    input.set_name("image");
    input.set_data_type(inference::TYPE_STRING);
    input.add_dims(1);
  }
  const std::vector<std::int64_t> pixels{-1, -1, 3};
  if (config.output().empty()) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name("pixels");
    output.set_data_type(inference::TYPE_UINT8);
    output.mutable_dims()->Add(pixels.begin(), pixels.end());
  }
  const inference::ModelInput& input = config.input(0);
  const bool text = input.data_type() == inference::TYPE_STRING;
  if (config.input_size() != 1 || config.output_size() != 1 ||
      (!text && input.data_type() != inference::TYPE_UINT8) || input.dims_size() != 1 ||
      input.dims(0) != (text ? 1 : -1) || config.output(0).data_type() != inference::TYPE_UINT8 ||
      !std::ranges::equal(config.output(0).dims(), pixels)) {
    return Invalid(
        "backend 'opencv_decode' has one input, STRING [1] or UINT8 [-1], and one output, UINT8 "
        "[-1,-1,3]");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeDecodeEngine(const inference::ModelConfig& config) {
  const absl::StatusOr<double> max_pixels =
      NumberParameter(config, "max_pixels", 1, 2e9, 50'000'000);
  RETURN_IF_ERROR(max_pixels.status());
  return std::make_unique<DecodeEngine>(*max_pixels, config.max_batch_size() > 0);
}

}  // namespace inferpool::modelserver
