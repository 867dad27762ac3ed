// The router with all that is below it, and a model server that the test makes answer.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "shared/base/log.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/board/occupied_board.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "tests/unit/worker/http/parsed_json.h"
#include "worker/predict/side_by_side.h"
#include "worker/router.h"

namespace inferpool::test {

// Nobody listens at the client's target: whatever is answered here needs no model server.
class RouterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { log::Init(log::Level::kError, "test"); }

  fcgi::Request Make(std::string method, std::string path, std::string_view body = "") {
    fcgi::Request request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.body = body;
    request.accepted = Clock::now();
    return request;
  }
  fcgi::Response Handle(const fcgi::Request& request) {
    return router_.Handle(request, thread_slot());
  }
  fcgi::Response Handle(std::string method, std::string path, std::string_view body = "") {
    return Handle(Make(std::move(method), std::move(path), body));
  }
  ThreadSlot& thread_slot() { return board_.thread_slots(0)[0]; }
  Quarantine& quarantine() { return board_.pool().quarantine; }

  static std::string Header(const fcgi::Response& response, const std::string& name) {
    std::string found = "(none)";
    for (const auto& [key, value] : response.headers) {
      if (key != name) continue;
      EXPECT_EQ(found, "(none)") << name << " is there twice";
      found = value;
    }
    return found;
  }

  // A well-formed problem of this status and code, with the headers of every answer.
  static testing::AssertionResult IsProblem(const fcgi::Response& response, int status,
                                            const std::string& code) {
    const Json::Value json = ParseJson(response.body);
    if (response.status == status && json["status"] == status && json["code"] == code &&
        json["type"] == "/docs/errors#" + code &&
        Header(response, "Content-Type") == "application/problem+json" &&
        json["request_id"] == Header(response, "X-Request-ID") &&
        !json["detail"].asString().empty() && !json["title"].asString().empty()) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << response.status << " " << response.body;
  }

  const std::string picture_ =
      test::ReadFile(std::string(INFERPOOL_SOURCE_DIR) + "/ops/pictures/astronaut.jpg");
  Config config_;
  const backend::Client client_{{"unix:/nonexistent/inferpool.sock"}, 16};
  backend::InferenceClient inference_{client_, {.domain = "router_test"}};
  backend::Catalog catalog_{client_};
  const Scoreboard board_ = test::OccupiedBoard(1, 1);
  const HeavyWork heavy_{board_,
                         {.memory_bytes = std::uint64_t{1} << 30, .processors = 2, .threads = 4}};
  predict::SpareThreads spare_threads_{2};
  const worker::Router router_{
      {config_, client_, inference_, catalog_, quarantine(), heavy_, spare_threads_}};
};

// The same with a model server there.
class RouterWithServerTest : public RouterTest {
 protected:
  RouterWithServerTest() {
    test::FakeModel model = test::FakeDetector("faces");
    model.infer = [](const auto&, inference::ModelInferResponse* response) {
      const std::vector<std::int64_t> one = {1};
      const std::vector<std::int64_t> none = {0};
      const std::vector<std::int64_t> no_boxes = {0, 4};
      AddRawOutput(*response, "num_dets", inference::TYPE_INT32, one).assign(4, '\0');
      AddRawOutput(*response, "det_boxes", inference::TYPE_FP32, no_boxes);
      AddRawOutput(*response, "det_scores", inference::TYPE_FP32, none);
      AddRawOutput(*response, "det_classes", inference::TYPE_INT32, none);
      return grpc::Status::OK;
    };
    server_.Set("faces", model);
    server_.Set("odd", test::FakeModel{});
    server_.SetIndex({{"faces", "1"}, {"odd", "1"}, {"unloaded meanwhile", "1"}});
  }

  fcgi::Response Ask(const fcgi::Request& request) {
    return router_with_.Handle(request, thread_slot());
  }

  test::FakeModelServer server_;
  const backend::Client client_with_{{server_.target()}, 16};
  backend::InferenceClient inference_with_{client_with_, {.domain = "router_test"}};
  backend::Catalog catalog_with_{client_with_};
  const worker::Router router_with_{{config_, client_with_, inference_with_, catalog_with_,
                                     quarantine(), heavy_, spare_threads_}};
};

}  // namespace inferpool::test
