// A client of two model servers, for tests of how it chooses between them.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "proto/tensor.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "worker/backend/rpc/client.h"

namespace inferpool::backend {

inline Deadline In(Clock::duration time) {
  return Deadline::After(time);
}

inline bool Eventually(const std::function<bool()>& condition) {
  const TimePoint end = Clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline inference::ModelInferRequest Request(const std::string& model = "faces") {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  AddRawInput(request, "image", inference::TYPE_UINT8, std::vector<std::int64_t>{3}).assign("abc");
  return request;
}

inline grpc::ByteBuffer Bytes(const google::protobuf::Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

class ClientTargetsTest : public testing::Test {
 protected:
  ClientTargetsTest() {
    for (test::FakeModelServer* server : {&first_, &second_})
      server->Set("faces", test::FakeDetector("faces"));
  }

  std::unique_ptr<Client> Make(const std::vector<std::string>& targets,
                               const BreakerPolicy& policy = {}) {
    return std::make_unique<Client>(targets, 16,
                                    ClientOptions{.breaker = policy, .counts = &counts_});
  }
  std::unique_ptr<Client> OfOne(const BreakerPolicy& policy = {}) {
    return Make({first_.target()}, policy);
  }
  std::unique_ptr<Client> OfBoth(const BreakerPolicy& policy = {}) {
    return Make({first_.target(), second_.target()}, policy);
  }

  static absl::Status Call(const Client& client, Clock::duration time = std::chrono::seconds(20)) {
    return client.Infer(Request(), {In(time)}).status();
  }

  // Calls until the breaker of the first target is open.
  static void Open(const Client& client) {
    ASSERT_TRUE(Eventually([&] {
      EXPECT_TRUE(absl::IsUnavailable(Call(client)));
      return client.State(0).breaker == Breaker::State::kOpen;
    }));
  }

  std::uint64_t Count(ModelCall what) const {
    return counts_.events[static_cast<std::size_t>(what)];
  }

  test::FakeModelServer first_;
  test::FakeModelServer second_;
  ModelCallCounts counts_{};
};

}  // namespace inferpool::backend
