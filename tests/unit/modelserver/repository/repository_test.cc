#include "modelserver/repository/repository.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

bool Never() {
  return false;
}

std::string IndexText(const Repository& repository) {
  std::string text;
  for (const IndexEntry& entry : repository.Index()) {
    text += entry.name + ":" + entry.version + ":" + std::string(ModelStateName(entry.state)) +
            (entry.reason.empty() ? "" : "!") + " ";
  }
  return text;
}

TEST(Repositories, ABrokenModelHarmsNoOther) {
  const Folder folder;
  folder.Write("a_broken/config.pbtxt", "max_batch_sise: 1");
  folder.Write("b_empty/notes.txt", "");
  folder.Write("c_good/1/model.onnx", MakeTinyOnnx());
  folder.Write("d_no_onnx/1/model.onnx", "nonsense");
  folder.Write("e_builtin/config.pbtxt", "backend: \"opencv_hog\"");
  folder.Write("f_bad_backend/config.pbtxt", "backend: \"x\"");
  folder.Write(".git/config", "");
  folder.Write("README.md", "no model");
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  EXPECT_FALSE(repository.Ready());
  EXPECT_EQ(repository.Find("c_good", "").status().code(), absl::StatusCode::kUnavailable);
  repository.Load(Never);
  EXPECT_TRUE(repository.Ready());
  EXPECT_EQ(IndexText(repository),
            "a_broken::UNAVAILABLE! b_empty::UNAVAILABLE! c_good:1:READY d_no_onnx:1:UNAVAILABLE! "
            "e_builtin:1:READY f_bad_backend::UNAVAILABLE! ");
  const auto good = repository.Find("c_good", "");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ((*good)->version(), 1);
  EXPECT_EQ((*good)->config().name(), "c_good");
}

TEST(Repositories, NamesThatAreNotUtf8ReachNoMessage) {
  const Folder folder;
  const std::string builtin = "backend: \"opencv_hog\"";
  folder.Write("caf\xe9/config.pbtxt", builtin);
  folder.Write("caf\xc3\xa9/config.pbtxt", builtin);
  folder.Write("labels/config.pbtxt", builtin);
  folder.Write("labels/labels.txt", "caf\xe9\n");
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  repository.Load(Never);
  EXPECT_EQ(IndexText(repository), "caf\xc3\xa9:1:READY labels:1:UNAVAILABLE! ");
  EXPECT_NE(repository.Index().back().reason.find("line 1 is not UTF-8"), std::string::npos);
  Repository named(folder.path(), {.control = ModelControl::kExplicit, .load = {"caf\xe9"}});
  EXPECT_EQ(named.Scan().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Repositories, TheStatusSaysWhatIsNotThere) {
  const Folder folder;
  folder.Write("m/1/model.onnx", MakeTinyOnnx());
  folder.Write("m/3/model.onnx", "nonsense");
  folder.Write("m/config.pbtxt", "version_policy: { all {} }");
  folder.Write("broken/1/model.onnx", "nonsense");
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  repository.Load(Never);
  EXPECT_TRUE(repository.Find("m", "1").ok());
  EXPECT_EQ((*repository.Find("m", ""))->version(), 1);  // the latest that is ready
  const auto code = [&](const char* name, const char* version) {
    return repository.Find(name, version).status().code();
  };
  EXPECT_EQ(code("m", "3"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("m", "2"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("n", ""), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("broken", ""), absl::StatusCode::kNotFound);
  for (const char* version : {"x", "-1", "0", "1x", "1.0", " 1", "99999999999999999999"}) {
    EXPECT_EQ(code("m", version), absl::StatusCode::kInvalidArgument) << version;
  }
  EXPECT_EQ(Message(repository.Find("n", "").status()),
            "Request for unknown model: 'n' is not found");
  EXPECT_EQ(repository.ReadyVersions("m"), std::vector<std::int64_t>{1});
  EXPECT_TRUE(repository.ReadyVersions("n").empty());
}

TEST(Repositories, ServeTheLatestVersionByNumber) {
  const Folder folder;
  for (const char* version : {"2", "10", "9", "012", "x", "0", "-4"}) {
    folder.Write(std::string("m/") + version + "/model.onnx", MakeTinyOnnx());
  }
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  repository.Load(Never);
  EXPECT_EQ(IndexText(repository), "m:10:READY ");
}

TEST(Repositories, AFolderThatIsNotThereIsAnError) {
  EXPECT_FALSE(Repository("/nonexistent").Scan().ok());
  const Folder folder;
  Repository empty(folder.path());
  ASSERT_TRUE(empty.Scan().ok());
  empty.Load(Never);
  EXPECT_TRUE(empty.Ready());
}

TEST(Repositories, ReadersSeeModelsWhileOthersLoad) {
  const Folder folder;
  for (int i = 0; i < 20; ++i) {
    folder.Write("m" + std::to_string(i) + "/1/model.onnx", MakeTinyOnnx());
  }
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  std::atomic<int> found = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        repository.Index();
        if (const auto model = repository.Find("m7", ""); model.ok()) {
          EXPECT_EQ((*model)->config().name(), "m7");
          ++found;
        }
      }
    });
  }
  repository.Load(Never);
  EXPECT_TRUE(repository.Find("m7", "").ok());
  while (found == 0) {
    std::this_thread::yield();
  }
}

TEST(Repositories, StopBetweenModels) {
  const Folder folder;
  folder.Write("a/1/model.onnx", MakeTinyOnnx());
  folder.Write("b/1/model.onnx", MakeTinyOnnx());
  Repository repository(folder.path());
  ASSERT_TRUE(repository.Scan().ok());
  std::atomic<int> asked = 0;
  repository.Load([&] { return ++asked >= 2; });
  EXPECT_FALSE(repository.Ready());
  // Several threads ask, so either may be the one that was loaded.
  const std::string index = IndexText(repository);
  EXPECT_TRUE(index == "a:1:READY b::LOADING " || index == "a::LOADING b:1:READY ") << index;
}

}  // namespace
}  // namespace inferpool::modelserver
