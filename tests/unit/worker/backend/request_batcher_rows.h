// What the tests of backend::RequestBatcher have instead of a model server: rows are numbers, and
// an answer has the numbers that were sent.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "worker/backend/request_batcher.h"

namespace inferpool::backend {

inline constexpr std::int64_t kShape[] = {1};
inline constexpr std::int64_t kOtherShape[] = {1, 1};

// Rows of this number are a fault of their own.
inline constexpr std::int32_t kBad = -1;

inline std::vector<std::int32_t> Numbers(const BatchInput& rows) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(rows.rows));
  EXPECT_EQ(rows.bytes, numbers.size() * 4);
  std::memcpy(numbers.data(), rows.memory->bytes().data() + rows.offset, rows.bytes);
  return numbers;
}

inline std::shared_ptr<const InferAnswer> MakeAnswer(const std::vector<std::int32_t>& numbers) {
  inference::ModelInferResponse response;
  AddRawOutput(response, "out", inference::TYPE_INT32,
               std::vector<std::int64_t>{static_cast<std::int64_t>(numbers.size()), 1})
      .assign(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4);
  return std::make_shared<const InferAnswer>(*InferAnswer::FromMessage(std::move(response)));
}

inline std::int32_t Number(const RowAnswer& answer) {
  const auto row = RowOf(*answer.answer->Find("out"), answer.rows, answer.row);
  EXPECT_TRUE(row.ok()) << row.status();
  std::int32_t number = 0;
  std::memcpy(&number, row->data(), sizeof number);
  return number;
}

inline TensorMemory OnHeap() {
  return {Transport::kInline, /*domain=*/"", /*arena_bytes=*/0, /*message_bytes=*/1 << 20};
}

// As InferenceClient::Row::Infer does it, with `send` for the call.
template <typename Send>
absl::StatusOr<RowAnswer> InferBy(RequestBatcher::Row row, const Send& send) {
  if (row.leads()) {
    row.Finish(send(row.Close()));
  } else if (const absl::Status status = row.AwaitFinish(); !status.ok()) {
    return status;
  }
  if (auto outcome = row.Outcome()) return *std::move(outcome);
  RequestBatcher::BatchAnswer answer = send(row.Alone());
  if (!answer.ok()) return answer.status();
  return RowAnswer{*std::move(answer), 1, 0};
}

}  // namespace inferpool::backend
