#include "modelserver/onnxruntime/library.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::ort {
namespace {

using modelserver::Folder;

TEST(Libraries, ThatCannotBeLoadedSayWhyAndWhatToDo) {
  const Folder folder;
  const auto why = [](const std::filesystem::path& file) {
    const auto library = Library::Load(file.string());
    EXPECT_EQ(library.status().code(), absl::StatusCode::kUnavailable);
    return std::string(Message(library.status()));
  };
  const std::string missing = why(folder.path() / "missing.so");
  EXPECT_NE(missing.find("missing.so"), std::string::npos) << missing;
  EXPECT_NE(missing.find("modelserver.onnxruntime"), std::string::npos) << missing;
  EXPECT_NE(why(folder.Write("text.so", "no library")).find("text.so"), std::string::npos);
  // A library, but another one.
  EXPECT_NE(why("libm.so.6").find("has no OrtGetApiBase"), std::string::npos);
}

TEST(Libraries, AreLoadedOncePerProcess) {
  const auto first = Runtime();
  ASSERT_TRUE(first.ok()) << first.status();
  UseLibrary("/nowhere/libonnxruntime.so.1");
  EXPECT_EQ(*Runtime(), *first);
  EXPECT_EQ((*first)->version().substr(0, 2), "1.");
}

}  // namespace
}  // namespace inferpool::ort
