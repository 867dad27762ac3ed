#include "worker/http/output.h"

#include <gtest/gtest.h>

namespace inferpool::http {
namespace {

TEST(OutputTest, TheClientsPreferenceDecides) {
  for (const auto& [accept, wanted] : {std::pair("image/jpeg", Output::kJpeg),
                                       {"image/png", Output::kPng},
                                       {"IMAGE/PNG", Output::kPng},
                                       {"image/*", Output::kJpeg},
                                       {"application/json", Output::kJson},
                                       {"image/png, application/json;q=0.5", Output::kPng},
                                       {"image/png;q=0.4, application/json;q=0.5", Output::kJson},
                                       {"image/png;q=0.9,image/jpeg;q=0.95", Output::kJpeg},
                                       {"image/png, */*;q=0.1", Output::kPng},
                                       {"image/*;q=0.5, image/png;q=0.8", Output::kPng},
                                       {"image/*, image/jpeg;q=0", Output::kPng},
                                       {"image/png ; q=1.0 , application/json; q=0", Output::kPng},
                                       {"application/json;q=0, */*", Output::kJpeg}}) {
    EXPECT_EQ(Negotiate(accept).front(), wanted) << accept;
  }
}

TEST(OutputTest, InDoubtItIsJson) {
  for (const char* accept : {"",
                             "*/*",
                             "application/*",
                             "application/json, image/png",
                             "image/png, application/json",
                             "image/avif,image/webp,image/apng,*/*;q=0.8",
                             "text/html",
                             "text/html,*/*;q=0.8",
                             "image",
                             "image/png;q=2",
                             "image/png;q=-1",
                             "image/png;q=x",
                             "image/png;q=",
                             "image/jpeg;q=0",
                             ",,,",
                             ";",
                             "*",
                             "/",
                             "image/",
                             "application/problem+json",
                             "image/webp"}) {
    EXPECT_EQ(Negotiate(accept).front(), Output::kJson) << accept;
  }
}

TEST(OutputTest, WhatElseIsAcceptedFollows) {
  using Outputs = std::vector<Output>;
  EXPECT_EQ(Negotiate("image/png, application/json;q=0.9"), (Outputs{Output::kPng, Output::kJson}));
  EXPECT_EQ(Negotiate("image/*, */*;q=0.1"), (Outputs{Output::kJpeg, Output::kPng, Output::kJson}));
  EXPECT_EQ(Negotiate("image/jpeg;q=0.5, image/png"), (Outputs{Output::kPng, Output::kJpeg}));
  EXPECT_EQ(Negotiate("image/png"), Outputs{Output::kPng});
  EXPECT_EQ(Negotiate("text/html"), Outputs{Output::kJson});
}

}  // namespace
}  // namespace inferpool::http
