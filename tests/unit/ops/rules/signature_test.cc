#include "ops/rules/signature.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::rules {
namespace {

// Of Python: hmac.new(b"a secret of many bytes", b"1764490123." + body, "sha256").hexdigest()
TEST(SignatureTest, ItIsThatOfTheTimeAndTheBody) {
  EXPECT_EQ(Signature("a secret of many bytes", 1'764'490'123, R"({"id":"door:07:1-0"})"),
            "t=1764490123,v1="
            "f3787362144de001e838ad0b033002d1a1940b5cd02252e3eff0ad6e9ee9b322");
}

TEST(SignatureTest, ItDiffersWithEachOfSecretTimeAndBody) {
  const std::string one = Signature("a secret of many bytes", 1, "{}");
  EXPECT_EQ(Signature("a secret of many bytes", 1, "{}"), one);
  EXPECT_NE(Signature("another one of many bytes", 1, "{}"), one);
  EXPECT_NE(Signature("a secret of many bytes", 2, "{}").substr(4), one.substr(4));
  EXPECT_NE(Signature("a secret of many bytes", 1, "[]"), one);
}

TEST(SecretTest, ItIsTheFilesWithoutBlanksAroundIt) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "secret";
  // What Python's strip() takes away.
  std::ofstream(path) << "\n\v\f 0123456789abcdef0123 \t\r\n\f\v";
  EXPECT_EQ(*ReadSecret(path), "0123456789abcdef0123");
}

TEST(SecretTest, NoneIsTooShortOrTooLongOrMissing) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "secret";
  EXPECT_FALSE(ReadSecret(path).ok());
  EXPECT_FALSE(ReadSecret(std::string(folder / "")).ok());
  for (const std::size_t size : {0UL, 15UL, 5'000UL}) {
    std::ofstream(path) << std::string(size, 'x');
    EXPECT_FALSE(ReadSecret(path).ok()) << size;
  }
}

TEST(SecretTest, APipeIsRefusedAtOnce) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(ReadSecret(path).ok()) << "nobody ever writes to it";
}

}  // namespace
}  // namespace inferpool::rules
