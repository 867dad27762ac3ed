#include "worker/backend/rpc/grpc_status.h"

#include <gtest/gtest.h>

namespace inferpool::backend {
namespace {

using Code = absl::StatusCode;
using Outcome = Breaker::Outcome;

TEST(GrpcStatusTest, BadInputIsAnAnswer) {
  for (const Code code : {Code::kOk, Code::kInvalidArgument, Code::kNotFound, Code::kAlreadyExists,
                          Code::kPermissionDenied, Code::kResourceExhausted,
                          Code::kFailedPrecondition, Code::kAborted, Code::kOutOfRange,
                          Code::kUnimplemented, Code::kDataLoss, Code::kUnauthenticated}) {
    EXPECT_EQ(OutcomeOf(code, true), Outcome::kAnswered) << static_cast<int>(code);
    EXPECT_EQ(OutcomeOf(code, false), Outcome::kAnswered) << "and the server ended afterwards";
  }
}

TEST(GrpcStatusTest, OnlyALostConnectionIsAFailure) {
  EXPECT_EQ(OutcomeOf(Code::kUnavailable, false), Outcome::kFailed);
  EXPECT_EQ(OutcomeOf(Code::kUnavailable, true), Outcome::kDoubtful) << "a full queue";
  for (const Code code : {Code::kInternal, Code::kUnknown}) {
    EXPECT_EQ(OutcomeOf(code, false), Outcome::kFailed);
    EXPECT_EQ(OutcomeOf(code, true), Outcome::kAnswered) << "a model that fails";
  }
}

TEST(GrpcStatusTest, AMissedDeadlineMayBeTheClients) {
  EXPECT_EQ(OutcomeOf(Code::kDeadlineExceeded, true), Outcome::kDoubtful);
  EXPECT_EQ(OutcomeOf(Code::kDeadlineExceeded, false), Outcome::kDoubtful);
}

TEST(GrpcStatusTest, OurOwnDoingSaysNothing) {
  EXPECT_EQ(OutcomeOf(Code::kCancelled, true), Outcome::kNothing);
  EXPECT_EQ(OutcomeOf(Code::kCancelled, false), Outcome::kNothing);
}

TEST(GrpcStatusTest, WhatGrpcMayHaveMadeUpLeavesTheServerAtWork) {
  for (const Code code : {Code::kCancelled, Code::kUnknown, Code::kDeadlineExceeded,
                          Code::kResourceExhausted, Code::kInternal, Code::kUnavailable}) {
    EXPECT_FALSE(IsSurelyTheServers(code)) << static_cast<int>(code);
  }
  for (const Code code : {Code::kInvalidArgument, Code::kNotFound, Code::kFailedPrecondition,
                          Code::kAlreadyExists, Code::kOutOfRange}) {
    EXPECT_TRUE(IsSurelyTheServers(code)) << static_cast<int>(code);
  }
}

}  // namespace
}  // namespace inferpool::backend
