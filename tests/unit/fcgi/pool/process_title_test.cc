#include "fcgi/pool/process_title.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "fcgi/pool/child.h"
#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using test::ChildProcess;

// main's own argv, which GoogleTest's main does not hand on: where the kernel has put it.
std::vector<char*> Arguments() {
  std::ifstream file("/proc/self/stat");
  std::string stat{std::istreambuf_iterator<char>(file), {}};
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int i = 3; i < 48; ++i) fields >> field;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  fields >> begin >> end;
  std::vector<char*> arguments;
  for (char* at = reinterpret_cast<char*>(begin); at < reinterpret_cast<char*>(end);
       at += std::strlen(at) + 1) {
    arguments.push_back(at);
  }
  return arguments;
}

void Init() {
  std::vector<char*> arguments = Arguments();
  InitProcessTitle(static_cast<int>(arguments.size()), arguments.data());
}

std::string Shown() {
  std::ifstream file("/proc/self/cmdline");
  std::string line;
  std::getline(file, line, '\0');
  return line;
}

TEST(ProcessTitleTest, IsWhatPsShows) {
  ChildProcess child([] {
    Init();
    for (const std::string title : {"worker 3", "sidecar", "a longer one than before", "x"}) {
      SetProcessTitle(title);
      if (Shown() != "inferpool: " + title) return 1;
    }
    return 0;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ProcessTitleTest, TheEnvironmentStaysAsItIs) {
  ASSERT_EQ(setenv("PROCESS_TITLE_TEST", "a value of the test's", 1), 0);
  const std::string path = getenv("PATH");
  ChildProcess child([&path] {
    Init();
    SetProcessTitle(std::string(100'000, 'x'));
    if (path != getenv("PATH")) return 1;
    if (getenv("PROCESS_TITLE_TEST") != std::string("a value of the test's")) return 2;
    setenv("PROCESS_TITLE_TEST", "another", 1);
    return getenv("PROCESS_TITLE_TEST") == std::string("another") ? 0 : 3;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ProcessTitleTest, OneWithoutRoomIsCut) {
  ChildProcess child([] {
    Init();
    SetProcessTitle(std::string(100'000, 'x'));
    return Shown().starts_with("inferpool: xxx") && Shown().size() < 100'000 ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ProcessTitleTest, BeforeInitNothingHappens) {
  ChildProcess child([] {
    const std::string before = Shown();
    SetProcessTitle("worker 3");
    return Shown() == before ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ProcessTitleTest, AChildOfTheMastersHasItsOwn) {
  ChildProcess master([] {
    Init();
    SetProcessTitle("master");
    const pid_t pid = StartChild({.title = "worker 3", .keep = {}},
                                 [] { return Shown() == "inferpool: worker 3" ? 0 : 1; });
    int status = -1;
    waitpid(pid, &status, 0);
    return status == 0 && Shown() == "inferpool: master" ? 0 : 1;
  });
  EXPECT_TRUE(master.Exited(0));
}

}  // namespace
}  // namespace inferpool::fcgi
