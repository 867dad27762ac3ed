// The folder as the control: what Poll does about its changes.
#include <gtest/gtest.h>

#include "modelserver/repository/repository.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

bool Never() {
  return false;
}

constexpr std::string_view kModel =
    "backend: 'identity' input { name: 'x' data_type: TYPE_INT8 dims: [ 1 ] }";

class Polls : public testing::Test {
 protected:
  void Start() {
    ASSERT_TRUE(repository_.Scan().ok());
    repository_.Load(Never);
  }

  std::string Polled() {
    repository_.Poll(Never);
    return Index();
  }

  std::string Index() {
    std::string text;
    for (const IndexEntry& entry : repository_.Index()) {
      text += entry.name + ":" + entry.version + ":" + std::string(ModelStateName(entry.state)) +
              (entry.reason.empty() ? "" : "!") + " ";
    }
    return text;
  }

  const Folder folder_;
  Repository repository_{folder_.path(), {.control = ModelControl::kPoll, .load = {}}};
};

TEST_F(Polls, LoadWhatIsAddedOnceItHasSettled) {
  folder_.Write("a/config.pbtxt", kModel);
  Start();
  EXPECT_EQ(Polled(), "a:1:READY ");
  folder_.Write("b/1/model.onnx", "half of it");
  EXPECT_EQ(Polled(), "a:1:READY ");
  folder_.Write("b/1/model.onnx", MakeTinyOnnx());
  EXPECT_EQ(Polled(), "a:1:READY ");
  EXPECT_EQ(Polled(), "a:1:READY b:1:READY ");
}

TEST_F(Polls, LoadAgainWhatIsModified) {
  folder_.Write("a/config.pbtxt", kModel);
  folder_.Write("a/1/x", "");
  Start();
  const std::shared_ptr<Model> first = *repository_.Find("a", "");
  EXPECT_EQ(Polled(), "a:1:READY ");
  EXPECT_EQ(Polled(), "a:1:READY ");
  EXPECT_EQ(*repository_.Find("a", ""), first);
  folder_.Write("a/2/x", "");
  EXPECT_EQ(Polled(), "a:1:READY ");
  EXPECT_EQ(Polled(), "a:1:UNLOADING! a:2:READY ");
}

TEST_F(Polls, KeepWhatServesWhenTheNewFailsAndTryAgainWhenItChanges) {
  folder_.Write("a/config.pbtxt", kModel);
  Start();
  folder_.Write("a/config.pbtxt", "backend: 'nothing'");
  Polled();
  EXPECT_EQ(Polled(), "a:1:READY! ");
  EXPECT_EQ(Polled(), "a:1:READY! ");
  folder_.Write("a/config.pbtxt", kModel);
  Polled();
  EXPECT_EQ(Polled(), "a:1:READY ");
}

TEST_F(Polls, LoadWhatFailedAtTheStartWhenItIsMended) {
  folder_.Write("a/1/model.onnx", "nonsense");
  Start();
  EXPECT_EQ(Polled(), "a:1:UNAVAILABLE! ");
  folder_.Write("a/1/model.onnx", MakeTinyOnnx());
  Polled();
  EXPECT_EQ(Polled(), "a:1:READY ");
}

TEST_F(Polls, UnloadWhatIsGoneForTwoLooks) {
  folder_.Write("a/config.pbtxt", kModel);
  Start();
  std::filesystem::rename(folder_.path() / "a", folder_.path() / ".a");
  EXPECT_EQ(Polled(), "a:1:READY ");
  std::filesystem::rename(folder_.path() / ".a", folder_.path() / "a");
  EXPECT_EQ(Polled(), "a:1:READY ");
  std::filesystem::remove_all(folder_.path() / "a");
  EXPECT_EQ(Polled(), "a:1:READY ");
  EXPECT_EQ(Polled(), "a:1:UNAVAILABLE! ");
  folder_.Write("a/config.pbtxt", kModel);
  Polled();
  EXPECT_EQ(Polled(), "a:1:READY ");
}

TEST_F(Polls, AFolderThatCannotBeReadChangesNothing) {
  folder_.Write("a/config.pbtxt", kModel);
  Start();
  std::filesystem::rename(folder_.path(), folder_.path().string() + ".away");
  Polled();
  EXPECT_EQ(Polled(), "a:1:READY ");
  std::filesystem::rename(folder_.path().string() + ".away", folder_.path());
}

}  // namespace
}  // namespace inferpool::modelserver
