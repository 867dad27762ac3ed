// The picture detectors, through the sample models as they are shipped.

#include <gtest/gtest.h>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <thread>

#include "modelserver/config/config_file.h"
#include "modelserver/repository/model.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

struct Found {
  float x1, y1, x2, y2, score;
};

absl::StatusOr<std::unique_ptr<Model>> LoadSample(const std::string& name) {
  const auto folder = std::filesystem::path(INFERPOOL_SOURCE_DIR) / "ops/models" / name;
  const auto config = ReadConfigFile(folder / "config.pbtxt", name);
  RETURN_IF_ERROR(config.status());
  return Model::Load(folder, 1, *config);
}

// Runs the model and checks what every answer must satisfy.
std::vector<Found> Detect(Model& model, const cv::Mat& rgb) {
  inference::ModelInferRequest request;
  AddRawInput(request, "image", inference::TYPE_UINT8,
              std::vector<std::int64_t>{rgb.rows, rgb.cols, 3})
      .assign(reinterpret_cast<const char*>(rgb.data), rgb.total() * 3);
  const auto outputs = Infer(model, request);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  if (!outputs.ok()) {
    return {};
  }
  const auto count = static_cast<std::size_t>(Values<std::int32_t>((*outputs)[0]).at(0));
  const std::vector<float> boxes = Values<float>((*outputs)[1]);
  const std::vector<float> scores = Values<float>((*outputs)[2]);
  EXPECT_LE(count, 100U);
  EXPECT_EQ(boxes.size(), 400U);
  EXPECT_EQ(scores.size(), 100U);
  EXPECT_EQ(Values<std::int32_t>((*outputs)[3]), std::vector<std::int32_t>(100));
  EXPECT_TRUE(std::ranges::is_sorted(scores, std::ranges::greater()));
  std::vector<Found> found;
  for (std::size_t i = 0; i < count; ++i) {
    found.push_back(
        {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3], scores[i]});
    EXPECT_GE(found[i].x1, 0);
    EXPECT_LT(found[i].x1, found[i].x2);
    EXPECT_LE(found[i].x2, rgb.cols);
    EXPECT_LT(found[i].y1, found[i].y2);
    EXPECT_LE(found[i].y2, rgb.rows);
    EXPECT_GT(found[i].score, 0);
    EXPECT_LE(found[i].score, 1);
  }
  for (std::size_t i = count; i < scores.size(); ++i) {
    EXPECT_EQ(scores[i], 0);
    EXPECT_EQ(boxes[4 * i + 2], 0);
  }
  return found;
}

cv::Mat Astronaut() {
  const cv::Mat bgr = cv::imread(std::string(INFERPOOL_SOURCE_DIR) + "/ops/pictures/astronaut.jpg");
  cv::Mat rgb;
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return rgb;
}

// A standing figure, `height` pixels from crown to feet.
void DrawPerson(cv::Mat& picture, int x, int y, int height) {
  const cv::Scalar dark(45, 40, 40);
  const double unit = height / 8.0;
  const auto at = [&](double dx, double dy) {
    return cv::Point(cvRound(x + dx * unit), cvRound(y + dy * unit));
  };
  cv::circle(picture, at(0, 0.6), cvRound(unit * 0.55), dark, cv::FILLED, cv::LINE_AA);
  cv::ellipse(picture, at(0, 2.6), cv::Size(cvRound(unit * 0.95), cvRound(unit * 1.6)), 0, 0, 360,
              dark, cv::FILLED, cv::LINE_AA);
  const std::vector<cv::Point> legs = {at(-0.8, 3.4), at(0.8, 3.4), at(1, 8), at(0.45, 8),
                                       at(0, 4.8),    at(-0.45, 8), at(-1, 8)};
  cv::fillPoly(picture, std::vector<std::vector<cv::Point>>{legs}, dark, cv::LINE_AA);
}

TEST(Faces, TheAstronautsFaceIsWhereItIs) {
  auto model = LoadSample("faces_cascade");
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<Found> found = Detect(**model, Astronaut());
  ASSERT_FALSE(found.empty());
  EXPECT_GT(found[0].score, 0.6);
  EXPECT_NEAR(found[0].x1, 172, 12);
  EXPECT_NEAR(found[0].y1, 63, 12);
  EXPECT_NEAR(found[0].x2, 274, 12);
  EXPECT_NEAR(found[0].y2, 165, 12);
  for (std::size_t i = 1; i < found.size(); ++i) {
    EXPECT_LT(found[i].score, 0.3) << found[i].x1 << " " << found[i].y1;
  }
  EXPECT_EQ(*FindParameter((*model)->config(), "class_names"), "face");
}

TEST(Faces, ALargePictureIsSearchedSmallerAndAnsweredInItsOwnPixels) {
  auto model = LoadSample("faces_cascade");
  ASSERT_TRUE(model.ok());
  cv::Mat large;
  cv::resize(Astronaut(), large, cv::Size(2048, 2048));
  const std::vector<Found> found = Detect(**model, large);
  ASSERT_FALSE(found.empty());
  EXPECT_GT(found[0].score, 0.6);
  EXPECT_NEAR(found[0].x1, 4 * 172, 48);
  EXPECT_NEAR(found[0].y2, 4 * 165, 48);
}

TEST(Faces, SurviveBlurAndLoseConfidence) {
  auto model = LoadSample("faces_cascade");
  ASSERT_TRUE(model.ok());
  const cv::Mat sharp = Astronaut();
  cv::Mat blurred;
  cv::resize(sharp, blurred, cv::Size(96, 96), 0, 0, cv::INTER_AREA);
  const std::vector<Found> found = Detect(**model, blurred);
  const float score = found.empty() ? 0 : found[0].score;
  EXPECT_LT(score, Detect(**model, sharp).at(0).score);
}

TEST(People, DrawnOnesAreWhereTheyAre) {
  auto model = LoadSample("people");
  ASSERT_TRUE(model.ok()) << model.status();
  cv::Mat picture(480, 640, CV_8UC3, cv::Scalar(190, 190, 190));
  DrawPerson(picture, 200, 120, 200);
  DrawPerson(picture, 450, 200, 130);
  const std::vector<Found> found = Detect(**model, picture);
  ASSERT_EQ(found.size(), 2U);
  for (const Found& person : found) {
    EXPECT_GT(person.score, 0.6);
    const bool first = person.x1 < 320;
    EXPECT_NEAR((person.x1 + person.x2) / 2, first ? 200 : 450, 12);
    EXPECT_NEAR(person.y1, first ? 120 : 200, 20);
    EXPECT_NEAR(person.y2, first ? 320 : 330, 20);
  }
  EXPECT_EQ(*FindParameter((*model)->config(), "class_names"), "person");
}

TEST(PictureModels, PicturesWithoutAnythingHaveNoDetections) {
  for (const char* name : {"faces_cascade", "people"}) {
    auto model = LoadSample(name);
    ASSERT_TRUE(model.ok());
    for (const cv::Size size :
         {cv::Size(1, 1), cv::Size(24, 24), cv::Size(64, 128), cv::Size(63, 400), cv::Size(1, 5000),
          cv::Size(100000, 1), cv::Size(4000, 30), cv::Size(0, 0), cv::Size(0, 7),
          cv::Size(300, 300)}) {
      EXPECT_TRUE(Detect(**model, cv::Mat(size, CV_8UC3, cv::Scalar(9, 99, 199))).empty())
          << name << size;
    }
  }
}

TEST(PictureModels, NoiseIsNoTrouble) {
  cv::RNG random(1);
  for (const char* name : {"faces_cascade", "people"}) {
    auto model = LoadSample(name);
    ASSERT_TRUE(model.ok());
    for (const cv::Size size : {cv::Size(65, 129), cv::Size(200, 301), cv::Size(25, 26)}) {
      cv::Mat noise(size, CV_8UC3);
      random.fill(noise, cv::RNG::UNIFORM, 0, 256);
      Detect(**model, noise);
    }
  }
}

TEST(PictureModels, AreSafeUnderManyCallers) {
  auto faces = LoadSample("faces_cascade");
  ASSERT_TRUE(faces.ok());
  const cv::Mat picture = Astronaut()(cv::Rect(120, 20, 220, 220)).clone();
  const std::vector<Found> expected = Detect(**faces, picture);
  ASSERT_FALSE(expected.empty());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 3; ++call) {
        const std::vector<Found> found = Detect(**faces, picture);
        ASSERT_EQ(found.size(), expected.size());
        EXPECT_EQ(found[0].score, expected[0].score);
      }
    });
  }
}

TEST(PictureModels, WhatTheirConfigurationGetsWrongIsSaid) {
  const auto why = [](const std::string& text) {
    const Folder folder;
    const auto config = ReadConfigFile(folder.Write("m/config.pbtxt", text), "m");
    EXPECT_TRUE(config.ok()) << config.status();
    return std::string(Message(Model::Load(folder.path() / "m", 1, *config).status()));
  };
  const std::string cascade = R"(backend: "opencv_cascade" parameters { key: "cascade" value {
      string_value: "haarcascade_frontalface_default.xml" } })";
  EXPECT_EQ(why(cascade), "");
  EXPECT_EQ(why(R"(backend: "opencv_hog")"), "");
  EXPECT_NE(why(R"(backend: "opencv_cascade")").find("'cascade'"), std::string::npos);
  EXPECT_NE(why(R"(backend: "opencv_cascade" parameters { key: "cascade" value {
      string_value: "missing.xml" } })")
                .find("missing.xml"),
            std::string::npos);
  EXPECT_NE(why(R"(backend: "opencv_cascade" parameters { key: "cascade" value {
      string_value: "../../../etc/passwd" } })")
                .find("plain file name"),
            std::string::npos);
  EXPECT_NE(why(cascade + R"(parameters { key: "scale_factor" value { string_value: "1" } })")
                .find("allowed is 1.01 to 2"),
            std::string::npos);
  EXPECT_NE(why(cascade + "max_batch_size: 4").find("max_batch_size 0"), std::string::npos);
  EXPECT_NE(why(R"(backend: "opencv_hog" output { name: "boxes" })").find("det_boxes"),
            std::string::npos);
}

TEST(PictureModels, ACascadeMayLieInTheVersionFolder) {
  const Folder folder;
  std::filesystem::create_directories(folder.path() / "m/1");
  std::filesystem::copy_file("/usr/share/opencv4/haarcascades/haarcascade_eye.xml",
                             folder.path() / "m/1/own.xml");
  folder.Write("m/1/bad.xml", "<?xml version=\"1.0\"?><opencv_storage><a>1</a></opencv_storage>");
  folder.Write("m/1/text.xml", "no cascade");
  const auto load = [&](const std::string& name) {
    inference::ModelConfig config;
    config.set_backend("opencv_cascade");
    (*config.mutable_parameters())["cascade"].set_string_value(name);
    return Model::Load(folder.path() / "m", 1, config).status();
  };
  EXPECT_TRUE(load("own.xml").ok());
  EXPECT_FALSE(load("bad.xml").ok());
  EXPECT_FALSE(load("text.xml").ok());
}

}  // namespace
}  // namespace inferpool::modelserver
