#include "fcgi/pool/new_program.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <string>
#include <vector>

#include "shared/base/log.h"
#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using Words = std::vector<std::string>;

// What is said of a program that has ended by itself.
absl::Status Check(const Words& command_line) {
  const auto check = ProgramCheck::Start(command_line);
  EXPECT_TRUE(check.ok()) << check.status();
  if (!check.ok()) return check.status();
  int status = -1;
  EXPECT_EQ(waitpid(check->pid(), &status, 0), check->pid());
  return check->Result(status);
}

bool Says(const absl::Status& status, std::string_view words) {
  return std::string_view(Message(status)).find(words) != std::string_view::npos;
}

TEST(CommandLineTest, NamesTheFileAndTheOverrides) {
  EXPECT_EQ(CommandLine("/bin/x", "serve", "/a b.json", {}),
            (Words{"/bin/x", "serve", "-c", "/a b.json"}));
  EXPECT_EQ(CommandLine("x", "check", "f", {"a=1", "b=c d"}),
            (Words{"x", "check", "-c", "f", "--set", "a=1", "--set", "b=c d"}));
}

TEST(ProgramCheckTest, OneThatEndsWellIsGood) {
  EXPECT_TRUE(Check({"/bin/true"}).ok());
  EXPECT_TRUE(Check({"/bin/sh", "-c", "echo words are no objection"}).ok());
}

TEST(ProgramCheckTest, OneThatRefusesIsQuoted) {
  const absl::Status status = Check({"/bin/sh", "-c", "echo one; echo two >&2; exit 3"});
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "/bin/sh") && Says(status, "one") && Says(status, "two")) << status;
}

TEST(ProgramCheckTest, OneThatSaysTooMuchIsCut) {
  const absl::Status status =
      Check({"/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; exit 1"});
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_LT(Message(status).size(), 1'000U);
}

TEST(ProgramCheckTest, OneThatSaysNothingOrCannotStartIsRefusedWithAReason) {
  EXPECT_TRUE(Says(Check({"/bin/false"}), "/bin/false"));
  const absl::Status missing = Check({"/no/such/program"});
  EXPECT_TRUE(absl::IsFailedPrecondition(missing));
  EXPECT_TRUE(Says(missing, "No such file")) << missing;
}

TEST(ProgramCheckTest, OneThatDoesNotEndIsKilledWhenPatienceEnds) {
  const auto check = ProgramCheck::Start({"/bin/sleep", "1000"});
  ASSERT_TRUE(check.ok());
  int status = -1;
  check->Tick(Clock::now());
  EXPECT_EQ(waitpid(check->pid(), &status, WNOHANG), 0) << "it has its time";
  check->Tick(Clock::now() + std::chrono::minutes(1));
  ASSERT_EQ(waitpid(check->pid(), &status, 0), check->pid());
  EXPECT_TRUE(absl::IsFailedPrecondition(check->Result(status)));
}

}  // namespace
}  // namespace inferpool::fcgi
