// Backends opencv_decode and opencv_letterbox, as models.
#include <gtest/gtest.h>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <random>

#include "modelserver/engines/opencv_letterbox.h"
#include "shared/pictures/header.h"
#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/repository/infer.h"
#include "tests/unit/shared/pictures/data.h"
#include "worker/vision/letterbox.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

// Red at the left, green at the right, blue below.
cv::Mat Picture(int width, int height) {
  cv::Mat bgr(height, width, CV_8UC3, cv::Scalar(0, 0, 250));
  bgr.colRange(width / 2, width).setTo(cv::Scalar(0, 250, 0));
  bgr.rowRange(height / 2, height).setTo(cv::Scalar(250, 0, 0));
  return bgr;
}

std::string Encoded(const cv::Mat& bgr, const char* extension) {
  std::vector<unsigned char> bytes;
  cv::imencode(extension, bgr, bytes);
  return {bytes.begin(), bytes.end()};
}

absl::StatusOr<std::vector<OutputTensor>> Decode(const std::string& config,
                                                 const std::string& picture) {
  auto model = LoadConfigured("backend: 'opencv_decode' " + config);
  RETURN_IF_ERROR(model.status());
  inference::ModelInferRequest request;
  const inference::DataType datatype = (*model)->config().input(0).data_type();
  if (datatype == inference::TYPE_STRING) {
    AddInput(request, "image", datatype, {1}, RawTexts({picture}));
  } else {
    AddInput(request, "image", datatype, {static_cast<std::int64_t>(picture.size())}, picture);
  }
  return Infer(**model, request);
}

TEST(Decode, GivesUprightRgbOfEachFormat) {
  const cv::Mat bgr = Picture(40, 30);
  for (const char* extension : {".png", ".jpg", ".webp"}) {
    for (const char* config : {"", "input { name: 'image' data_type: TYPE_UINT8 dims: [ -1 ] }"}) {
      const auto outputs = Decode(config, Encoded(bgr, extension));
      ASSERT_TRUE(outputs.ok()) << extension << outputs.status();
      ASSERT_EQ((*outputs)[0].shape, (Shape{30, 40, 3}));
      const auto pixels = Values<std::uint8_t>((*outputs)[0]);
      const auto near = [&](std::size_t x, std::size_t y, cv::Vec3b rgb) {
        for (int channel = 0; channel < 3; ++channel) {
          EXPECT_NEAR(pixels[3 * (40 * y + x) + static_cast<std::size_t>(channel)], rgb[channel], 8)
              << extension << x << ',' << y;
        }
      };
      near(4, 4, {250, 0, 0});
      near(36, 4, {0, 250, 0});
      near(4, 26, {0, 0, 250});
    }
  }
}

// The worker, which places the boxes, has read the same headers.
TEST(Decode, GivesEveryKindOfPictureUprightAsTheWorkersDo) {
  for (const vision::KnownPicture& known : vision::KnownPictures()) {
    SCOPED_TRACE(known.name);
    const std::string picture = vision::ReadData(known.name);
    const auto outputs = Decode("", picture);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    const cv::Size size = vision::UprightSize(*vision::ReadHeader(picture));
    ASSERT_EQ((*outputs)[0].shape, (Shape{size.height, size.width, 3}));
    const std::string bgr = vision::ReadData(known.name + ".bgr");
    const auto pixels = Values<std::uint8_t>((*outputs)[0]);
    ASSERT_EQ(pixels.size(), bgr.size());
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const auto expected = static_cast<unsigned char>(bgr[i / 3 * 3 + 2 - i % 3]);
      ASSERT_NEAR(pixels[i], expected, known.tolerance) << i;
    }
  }
}

TEST(Decode, RefusesBrokenPicturesAsTheClientsFault) {
  const std::string jpeg = Encoded(Picture(64, 64), ".jpg");
  const std::string png = Encoded(Picture(64, 64), ".png");
  const std::string webp = Encoded(Picture(64, 64), ".webp");
  std::vector<std::string> broken = {"", "no picture", "\xff\xd8", "GIF89a"};
  for (const std::string& whole : {jpeg, png, webp}) {
    for (const std::size_t kept : {std::size_t{3}, std::size_t{12}, std::size_t{24},
                                   whole.size() / 2, whole.size() * 3 / 4}) {
      broken.push_back(whole.substr(0, kept));
    }
  }
  for (const std::string& picture : broken) {
    EXPECT_TRUE(absl::IsInvalidArgument(Decode("", picture).status())) << picture.size();
  }
}

TEST(Decode, LeavesOutTextsOfAPng) {
  const std::string png = Encoded(Picture(9, 7), ".png");
  using namespace std::string_literals;
  const std::string text = "\0\0\0\4tEXtabcdsum."s;
  const auto decoded = Decode("", std::string(png).insert(33, text));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->front().shape, std::vector<std::int64_t>({7, 9, 3}));
}

TEST(Decode, RefusesMoreScansThanAnybodyWrites) {
  cv::Mat grey(8, 8, CV_8UC1, cv::Scalar(9));
  std::vector<unsigned char> bytes;
  cv::imencode(".jpg", grey, bytes, {cv::IMWRITE_JPEG_PROGRESSIVE, 1});
  const std::string jpeg(bytes.begin(), bytes.end());
  const std::size_t last = jpeg.rfind("\xff\xda");
  std::string scans;
  for (int i = 0; i < 64; ++i) scans += jpeg.substr(last, jpeg.size() - 2 - last);
  const absl::Status status = Decode("", std::string(jpeg).insert(jpeg.size() - 2, scans)).status();
  EXPECT_NE(Message(status).find("scans"), std::string_view::npos) << status;
}

TEST(Decode, RefusesWhatOpenCvWouldGiveToOtherDecoders) {
  using namespace std::string_literals;
  // Lossless WebP of a version that there is not, so that nobody takes it for WebP.
  std::string picture = "RIFF\x00\x04\x00\x00WEBPVP8L\x00\x04\x00\x00/\x0f\xc0\x03\xe0"s;
  picture.resize(1000);
  for (const auto& [at, mark] : {std::pair(128, "DICM"), std::pair(140, "DTED")}) {
    std::string file = picture;
    file.replace(static_cast<std::size_t>(at), 4, mark);
    EXPECT_TRUE(absl::IsInvalidArgument(Decode("", file).status()));
  }
}

TEST(Decode, IsNeverBroughtDownByDamage) {
  std::mt19937 random(7);
  auto model = LoadConfigured("backend: 'opencv_decode'");
  ASSERT_TRUE(model.ok());
  for (const char* extension : {".png", ".jpg", ".webp"}) {
    const std::string whole = Encoded(Picture(33, 21), extension);
    for (int i = 0; i < 200; ++i) {
      std::string picture = whole;
      for (int change = 0; change < 3; ++change) {
        picture[random() % picture.size()] = static_cast<char>(random());
      }
      inference::ModelInferRequest request;
      AddInput(request, "image", inference::TYPE_STRING, {1}, RawTexts({picture}));
      const absl::Status status = Infer(**model, request).status();
      EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    }
  }
}

TEST(Decode, JudgesTheSizeBeforeItDecodes) {
  using namespace std::string_literals;
  const std::string limit = "parameters { key: 'max_pixels' value { string_value: '1000' } }";
  EXPECT_TRUE(Decode(limit, Encoded(Picture(40, 25), ".png")).ok());
  const absl::Status status = Decode(limit, Encoded(Picture(40, 26), ".png")).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(Message(status).find("40 x 26"), std::string::npos);
  // A header alone, of 2^30 pixels.
  const std::string header =
      "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x80\0\0\0\x80\0\x08\x02\0\0\0\0\0\0\0"s;
  EXPECT_NE(Message(Decode("", header).status()).find("32768 x 32768"), std::string::npos);
}

TEST(Decode, TakesABatchOfPicturesOfOneSize) {
  auto model = LoadConfigured("backend: 'opencv_decode' max_batch_size: 4");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto infer = [&](const std::vector<cv::Mat>& pictures) {
    std::vector<std::string> encoded;
    for (const cv::Mat& picture : pictures) encoded.push_back(Encoded(picture, ".png"));
    inference::ModelInferRequest request;
    AddInput(request, "image", inference::TYPE_STRING,
             {static_cast<std::int64_t>(pictures.size()), 1}, RawTexts(encoded));
    return Infer(**model, request);
  };
  const auto outputs = infer({Picture(8, 6), Picture(8, 6)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{2, 6, 8, 3}));
  EXPECT_EQ((*outputs)[0].data.substr(0, 144), (*outputs)[0].data.substr(144));
  EXPECT_TRUE(absl::IsInvalidArgument(infer({Picture(8, 6), Picture(6, 8)}).status()));
}

TEST(Decode, RefusesOtherTensors) {
  for (const char* config : {"input { name: 'i' data_type: TYPE_FP32 dims: [ 1 ] }",
                             "input { name: 'i' data_type: TYPE_STRING dims: [ 2 ] }",
                             "output { name: 'o' data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] }",
                             "parameters { key: 'max_pixels' value { string_value: '0' } }"}) {
    EXPECT_FALSE(LoadConfigured(std::string("backend: 'opencv_decode' ") + config).ok()) << config;
  }
}

vision::InputLayout YoloLayout(cv::Size size) {
  vision::InputLayout layout;
  layout.size = size;
  layout.scale = {1.0F / 255, 1.0F / 255, 1.0F / 255};
  return layout;
}

TEST(Letterbox, MakesTheInputThatTheWorkersMake) {
  constexpr int kWidth = 96;
  constexpr int kHeight = 64;
  auto model = LoadConfigured(
      "backend: 'opencv_letterbox' output { name: 'x' data_type: TYPE_FP32 dims: [ 3, 64, 96 ] }");
  ASSERT_TRUE(model.ok()) << model.status();
  std::mt19937 random(11);
  for (const cv::Size size : {cv::Size(200, 150), cv::Size(31, 77), cv::Size(96, 64)}) {
    cv::Mat rgb(size, CV_8UC3);
    std::generate_n(rgb.data, rgb.total() * 3,
                    [&] { return static_cast<unsigned char>(random()); });
    inference::ModelInferRequest request;
    AddInput(request, "pixels", inference::TYPE_UINT8, {size.height, size.width, 3},
             std::string(reinterpret_cast<const char*>(rgb.data), rgb.total() * 3));
    const auto outputs = Infer(**model, request);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].shape, (Shape{3, kHeight, kWidth}));

    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    const vision::InputLayout layout = YoloLayout({kWidth, kHeight});
    std::vector<float> expected(std::size_t{3} * kHeight * kWidth);
    ASSERT_TRUE(vision::WriteInput(bgr, vision::Place(layout, size), layout,
                                   std::as_writable_bytes(std::span(expected)))
                    .ok());
    const std::vector<float> values = Values<float>((*outputs)[0]);
    ASSERT_EQ(values.size(), expected.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], expected[i], 1e-6) << i;
    }
  }
}

TEST(Letterbox, GivesABatchToAModelThatHasOne) {
  const std::string pixels(std::size_t{2} * 4 * 6 * 3, '\x64');
  auto rows = LoadConfigured(
      "backend: 'opencv_letterbox' max_batch_size: 2 "
      "output { name: 'x' data_type: TYPE_FP32 dims: [ 3, 8, 8 ] }");
  ASSERT_TRUE(rows.ok()) << rows.status();
  inference::ModelInferRequest request;
  AddInput(request, "pixels", inference::TYPE_UINT8, {2, 4, 6, 3}, pixels);
  const auto outputs = Infer(**rows, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{2, 3, 8, 8}));
  const std::size_t row = (*outputs)[0].data.size() / 2;
  EXPECT_EQ((*outputs)[0].data.substr(0, row), (*outputs)[0].data.substr(row));

  auto one = LoadConfigured(
      "backend: 'opencv_letterbox' "
      "output { name: 'x' data_type: TYPE_FP32 dims: [ 1, 3, 8, 8 ] }");
  ASSERT_TRUE(one.ok()) << one.status();
  inference::ModelInferRequest single;
  AddInput(single, "pixels", inference::TYPE_UINT8, {4, 6, 3}, pixels.substr(72));
  const auto output = Infer(**one, single);
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ((*output)[0].shape, (Shape{1, 3, 8, 8}));
}

TEST(Letterbox, RefusesWhatHasNoPixelsOrNoSize) {
  auto model = LoadConfigured(
      "backend: 'opencv_letterbox' output { name: 'x' data_type: TYPE_FP32 dims: [ 3, 8, 8 ] }");
  ASSERT_TRUE(model.ok());
  inference::ModelInferRequest request;
  AddInput(request, "pixels", inference::TYPE_UINT8, {0, 6, 3}, "");
  EXPECT_TRUE(absl::IsInvalidArgument(Infer(**model, request).status()));
  for (const char* dims : {"3, -1, -1", "1, 8, 8", "3, 8", "3, 8, 9000", "2, 3, 8, 8"}) {
    EXPECT_FALSE(LoadConfigured(std::string("backend: 'opencv_letterbox' output { name: 'x' "
                                            "data_type: TYPE_FP32 dims: [ ") +
                                dims + " ] }")
                     .ok())
        << dims;
  }
}

}  // namespace
}  // namespace inferpool::modelserver
