// Pipelines and /v1/analyze, with models that the test answers for.
#include "worker/analyze/pipeline.h"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

#include "tests/unit/worker/router_fixture.h"

namespace inferpool::analyze {
namespace {

using test::AddTensor;
using test::FakeModel;
using test::ParseJson;

// Column x of the picture is x in its blue.
std::string Columns(int width, int height) {
  cv::Mat picture(height, width, CV_8UC3);
  for (int x = 0; x < width; ++x) picture.col(x).setTo(cv::Scalar(x, 1, 2));
  std::vector<unsigned char> png;
  cv::imencode(".png", picture, png);
  return {png.begin(), png.end()};
}

void Put(inference::ModelInferResponse& response, const std::string& name,
         const std::vector<std::int64_t>& shape, const std::vector<float>& values) {
  std::string& raw = AddRawOutput(response, name, DatatypeOf<float>, shape);
  raw.resize(values.size() * sizeof(float));
  std::memcpy(raw.data(), values.data(), raw.size());
}

FakeModel MakeModel(const std::string& name, const std::vector<std::int64_t>& input,
                    const std::string& output, const std::vector<std::int64_t>& output_shape,
                    const std::string& family) {
  FakeModel model;
  model.metadata.set_name(name);
  model.metadata.add_versions("1");
  AddTensor(*model.metadata.add_inputs(), "image", "UINT8", input);
  AddTensor(*model.metadata.add_outputs(), output, "FP32", output_shape);
  model.config.set_name(name);
  auto& parameters = *model.config.mutable_parameters();
  parameters["family"].set_string_value(family);
  parameters["channels"].set_string_value("bgr");
  parameters["resize"].set_string_value("stretch");
  return model;
}

class PipelineTest : public test::RouterWithServerTest {
 protected:
  PipelineTest() {
    // Finds the same three things in a picture of 200 x 40: x1, y1, x2, y2, score, class.
    FakeModel spots = MakeModel("spots", {1, 40, 200, 3}, "boxes", {1, 3, 6}, "nms_free");
    (*spots.config.mutable_parameters())["class_names"].set_string_value("car\nbus\n");
    spots.infer = [this](const auto&, inference::ModelInferResponse* response) {
      Count("spots", 1);
      Put(*response, "boxes", {1, 3, 6},
          {50, 10, 58, 18, 0.9F, 0, 80, 0, 88, 8, 0.8F, 1, 120, 20, 128, 28, 0.7F, 0});
      return grpc::Status::OK;
    };
    server_.Set("spots", spots);
    // The blue, green and red of the first pixel of each of up to four rows.
    FakeModel colour = MakeModel("colour", {-1, 8, 8, 3}, "colour", {-1, 3}, "embedding");
    colour.config.set_max_batch_size(4);
    colour.infer = [this](const inference::ModelInferRequest& request,
                          inference::ModelInferResponse* response) {
      const std::string& bytes = request.raw_input_contents(0);
      const std::int64_t rows = request.inputs(0).shape(0);
      Count("colour", rows);
      std::vector<float> values;
      for (std::size_t at = 0; at < bytes.size(); at += 8 * 8 * 3) {
        for (std::size_t i = 0; i < 3; ++i) {
          values.push_back(static_cast<float>(static_cast<unsigned char>(bytes[at + i])));
        }
      }
      Put(*response, "colour", {rows, 3}, values);
      return grpc::Status::OK;
    };
    server_.Set("colour", colour);
    server_.SetIndex({{"spots", "1"}, {"colour", "1"}});
    config_.pipelines["colours"] = Tree("colour");
  }

  static Config::Step Tree(const std::string& below) {
    Config::Step second;
    second.model = below;
    Config::Step first;
    first.model = "spots";
    first.each = {second};
    return first;
  }

  Config::Step& below() { return config_.pipelines["colours"].each[0]; }

  void Count(const std::string& model, std::int64_t rows) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(model + " " + std::to_string(rows));
  }

  fcgi::Response Post(const std::string& path, const std::string& query = "") {
    fcgi::Request request = RouterTest::Make("POST", path, columns_);
    request.query = query;
    request.content_type = "image/png";
    return Ask(request);
  }

  const std::string columns_ = Columns(200, 40);
  std::mutex mutex_;
  std::vector<std::string> calls_;
};

TEST_F(PipelineTest, AllThatAStepIsAskedAboutGoesInOneCall) {
  const fcgi::Response response = Post("/v1/predict/colours");
  ASSERT_EQ(response.status, 200) << response.body;
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(calls_, (std::vector<std::string>{"spots 1", "colour 3"}));
  EXPECT_EQ(json["model"]["name"], "colours");
  ASSERT_EQ(json["model"]["steps"].size(), 2U);
  EXPECT_EQ(json["model"]["steps"][1]["name"], "colour");
  EXPECT_EQ(json["model"]["steps"][1]["version"], "1");
  EXPECT_EQ(json["image"]["width"], 200);
  ASSERT_EQ(json["detections"].size(), 3U);
  const auto blue = [&json](unsigned i) {
    return json["detections"][i]["found"]["colour"]["embedding"][0].asInt();
  };
  EXPECT_EQ(blue(0), 50);
  EXPECT_EQ(blue(1), 80);
  EXPECT_EQ(blue(2), 120);
}

TEST_F(PipelineTest, AStepIsAskedAboutWhatItTakesAlone) {
  below().classes = {"car"};
  below().min_confidence = 0.75;
  const Json::Value json = ParseJson(Post("/v1/predict/colours").body);
  EXPECT_EQ(calls_, (std::vector<std::string>{"spots 1", "colour 1"}));
  EXPECT_TRUE(json["detections"][0].isMember("found"));
  EXPECT_FALSE(json["detections"][1].isMember("found"));
  EXPECT_FALSE(json["detections"][2].isMember("found"));
  below().min_confidence = 0.95;
  calls_.clear();
  EXPECT_EQ(Post("/v1/predict/colours").status, 200);
  EXPECT_EQ(calls_, std::vector<std::string>{"spots 1"}) << "nobody is asked about nothing";
}

TEST_F(PipelineTest, WhatDoesNotFitIsSaid) {
  below().classes = {"bike"};
  EXPECT_TRUE(IsProblem(Post("/v1/predict/colours"), 501, "unusable-model"));
  below() = Tree("nothing").each[0];
  EXPECT_TRUE(IsProblem(Post("/v1/predict/colours"), 404, "unknown-model"));
  below() = Tree("colour").each[0];
  below().turn = "colour";  // is no classification
  EXPECT_TRUE(IsProblem(Post("/v1/predict/colours"), 501, "unusable-model"));
  below().turn = "";
  below().each = Tree("spots").each;  // below an embedding
  EXPECT_TRUE(IsProblem(Post("/v1/predict/colours"), 501, "unusable-model"));
  config_.pipelines["colours"].model = "nothing";
  EXPECT_TRUE(IsProblem(Post("/v1/predict/colours"), 404, "unknown-model"));
}

TEST_F(PipelineTest, APictureThatCrashesAStepIsRefusedThere) {
  quarantine().Enter({.digest = quarantine().DigestOf(columns_),
                      .model = ModelName("colour"),
                      .request_id = RequestName("r"),
                      .until_ns = ToNs(Clock::now() + std::chrono::minutes(1))});
  EXPECT_EQ(Post("/v1/predict/colours").status, http::Quarantined().status);
  EXPECT_EQ(Post("/v1/predict/spots").status, 200);
  const Json::Value json = ParseJson(Post("/v1/analyze", "models=spots,colours,colour").body);
  EXPECT_EQ(json["results"]["spots"]["status"], 200);
  EXPECT_EQ(json["results"]["colours"]["problem"]["code"], std::string(http::Quarantined().code));
  EXPECT_EQ(json["results"]["colour"]["problem"]["code"], std::string(http::Quarantined().code));
}

TEST_F(PipelineTest, EachModelHasAPartOfTheAnswer) {
  const fcgi::Response response =
      Post("/v1/analyze", "models=colours,nothing,colour,spots&coordinates=normalized");
  ASSERT_EQ(response.status, 200) << response.body;
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(json["image"]["height"], 40);
  EXPECT_EQ(json["request_id"], Header(response, "X-Request-ID"));
  const Json::Value& results = json["results"];
  EXPECT_EQ(results.size(), 4U);
  EXPECT_LT(response.body.find("\"colours\":{"), response.body.find("\"nothing\":{"))
      << "in the order in which they were asked for";
  EXPECT_LT(response.body.find("\"nothing\":{"), response.body.find("\"colour\":{\"status\""));
  EXPECT_EQ(results["nothing"]["status"], 404);
  EXPECT_EQ(results["nothing"]["problem"]["code"], "unknown-model");
  EXPECT_EQ(results["colour"]["embedding"][0].asInt(), 12) << "the middle of 25 columns";
  EXPECT_EQ(results["spots"]["detections"].size(), 3U);
  EXPECT_DOUBLE_EQ(results["spots"]["detections"][0]["box"]["x1"].asDouble(), 0.25);
  EXPECT_FALSE(results["spots"].isMember("image"));
  EXPECT_EQ(results["colours"]["detections"][2]["found"]["colour"]["embedding"][0].asInt(), 120);
}

TEST_F(PipelineTest, WithoutNamesTheConfigurationsAreAskedThatAreThere) {
  config_.analyze = {"spots", "nothing", "colours"};
  const Json::Value json = ParseJson(Post("/v1/analyze").body);
  EXPECT_EQ(json["results"].getMemberNames(), (std::vector<std::string>{"colours", "spots"}));
  config_.analyze = {"nothing"};
  EXPECT_TRUE(IsProblem(Post("/v1/analyze"), 400, "bad-parameter"));
}

TEST_F(PipelineTest, WhatIsWrongWithThePictureIsWrongWithTheRequest) {
  fcgi::Request request = RouterTest::Make("POST", "/v1/analyze", "no picture");
  request.query = "models=spots,colours";
  request.content_type = "image/png";
  EXPECT_EQ(Ask(request).status, 415);
  const std::string cut = columns_.substr(0, columns_.size() / 2);
  request.body = cut;
  EXPECT_EQ(Ask(request).status, 422);
  request.query = "models=spots&render=jpeg";
  EXPECT_TRUE(IsProblem(Ask(request), 400, "bad-parameter"));
}

TEST_F(PipelineTest, ABatchAnswersEachPicture) {
  const std::string body =
      "--B\r\nContent-Disposition: form-data; name=\"images\"; "
      "filename=\"a.png\"\r\n\r\n" +
      columns_ +
      "\r\n--B\r\nContent-Disposition: form-data; name=\"images\"; "
      "filename=\"b.png\"\r\n\r\nno picture\r\n--B--\r\n";
  fcgi::Request request = RouterTest::Make("POST", "/v1/predict/colours/batch", body);
  request.content_type = "multipart/form-data; boundary=B";
  const fcgi::Response response = Ask(request);
  ASSERT_EQ(response.status, 200) << response.body;
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(json["model"]["name"], "colours");
  EXPECT_EQ(json["results"][0]["model"]["steps"].size(), 2U);
  EXPECT_EQ(json["results"][1]["status"], 415);
}

TEST_F(PipelineTest, PipelinesAreListedAfterTheModels) {
  config_.pipelines["broken"] = Tree("nothing");
  const Json::Value models = ParseJson(Ask(RouterTest::Make("GET", "/v1/models")).body)["models"];
  ASSERT_EQ(models.size(), 4U) << "without the default one, whose models are not there";
  EXPECT_EQ(models[2]["name"], "broken");
  EXPECT_TRUE(models[2]["family"].isNull());
  EXPECT_NE(models[2]["unusable"].asString().find("nothing"), std::string::npos);
  EXPECT_EQ(models[3]["name"], "colours");
  EXPECT_EQ(models[3]["family"], "pipeline");
  EXPECT_EQ(models[3]["class_names"][1], "bus");
  EXPECT_EQ(models[3]["steps"]["each"][0]["model"], "colour");
  const fcgi::Response one = Ask(RouterTest::Make("GET", "/v1/models/colours"));
  EXPECT_EQ(ParseJson(one.body), models[3]);
  EXPECT_EQ(Ask(RouterTest::Make("GET", "/v1/models/text")).status, 200);
}

TEST_F(PipelineTest, ANameMayBeAModelsUnderTheProtocol) {
  config_.pipelines["spots"] = Tree("colour");
  EXPECT_EQ(ParseJson(Post("/v1/predict/spots").body)["model"]["steps"].size(), 2U);
  const fcgi::Response model = Ask(RouterTest::Make("GET", "/v2/models/spots"));
  EXPECT_EQ(model.status, 200) << model.body;
  EXPECT_EQ(ParseJson(model.body)["outputs"][0]["name"], "boxes");
  EXPECT_EQ(ParseJson(Ask(RouterTest::Make("GET", "/v1/models")).body)["models"].size(), 3U);
}

TEST_F(PipelineTest, ThereAreNoOtherMethods) {
  for (const char* method : {"GET", "HEAD", "PUT"}) {
    const fcgi::Response response = Ask(RouterTest::Make(method, "/v1/analyze"));
    EXPECT_TRUE(IsProblem(response, 405, "method-not-allowed")) << method;
    EXPECT_EQ(Header(response, "Allow"), "POST");
  }
}

}  // namespace
}  // namespace inferpool::analyze
