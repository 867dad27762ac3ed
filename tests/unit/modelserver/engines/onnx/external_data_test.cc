#include "modelserver/engines/onnx/external_data.h"

#include <gtest/gtest.h>

#include "modelserver/repository/model.h"
#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

// The tiny network, whose one constant (two int64) lies where `entries` say.
onnx::ModelProto Tiny(const Entries& entries) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(MakeTinyOnnx()));
  onnx::TensorProto& constant = *model.mutable_graph()->mutable_initializer(0);
  constant.clear_int64_data();
  constant.set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : entries) {
    onnx::StringStringEntryProto& entry = *constant.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
  return model;
}

std::string Constant() {
  return Raw(std::vector<std::int64_t>{0, 8});
}

TEST(ExternalData, IsReadFromBesideTheModel) {
  const Folder folder;
  folder.Write("model.onnx.data", std::string(4096, 'x') + Constant() + "more");
  folder.Write("weights/own", Constant());
  for (const Entries& entries :
       {Entries{{"location", "model.onnx.data"}, {"offset", "4096"}, {"length", "16"}},
        Entries{{"location", "weights/own"}, {"checksum", "any"}}}) {
    onnx::ModelProto model = Tiny(entries);
    ASSERT_TRUE(ReadExternalData(folder.path(), model).ok());
    const onnx::TensorProto& constant = model.graph().initializer(0);
    EXPECT_EQ(constant.raw_data(), Constant());
    EXPECT_EQ(constant.data_location(), onnx::TensorProto::DEFAULT);
  }
}

TEST(ExternalData, OfConstantNodesIsReadToo) {
  const Folder folder;
  folder.Write("data", Constant());
  onnx::ModelProto model = Tiny({{"location", "data"}});
  onnx::AttributeProto& value = *model.mutable_graph()->mutable_node(0)->add_attribute();
  *value.mutable_t() = model.graph().initializer(0);
  ASSERT_TRUE(ReadExternalData(folder.path(), model).ok());
  EXPECT_EQ(model.graph().node(0).attribute(0).t().raw_data(), Constant());
}

TEST(ExternalData, IsNeverReadFromElsewhereOrPastTheEnd) {
  const Folder folder;
  folder.Write("outside", Constant());
  folder.Write("1/data", Constant());
  const std::filesystem::path version = folder.path() / "1";
  for (const Entries& entries :
       {Entries{}, Entries{{"location", ""}}, Entries{{"location", "../outside"}},
        Entries{{"location", "x/../../outside"}},
        Entries{{"location", (folder.path() / "outside").string()}},
        Entries{{"location", "missing"}}, Entries{{"location", "."}},
        Entries{{"location", "data"}, {"length", "17"}},
        Entries{{"location", "data"}, {"offset", "1"}, {"length", "16"}},
        Entries{{"location", "data"}, {"offset", "17"}, {"length", "1"}},
        Entries{{"location", "data"}, {"offset", "18446744073709551615"}, {"length", "16"}},
        Entries{{"location", "data"}, {"offset", "-1"}},
        Entries{{"location", "data"}, {"length", "16x"}}}) {
    onnx::ModelProto model = Tiny(entries);
    const absl::Status status = ReadExternalData(version, model);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << model.graph().initializer(0).DebugString();
    EXPECT_NE(Message(status).find("'flat_shape'"), std::string_view::npos) << status;
  }
}

TEST(ExternalData, MakesAModelThatWorks) {
  const Folder folder;
  folder.Write("tiny/1/model.onnx.data", Constant());
  const auto load = [&folder](const Entries& entries) {
    folder.Write("tiny/1/model.onnx", Tiny(entries).SerializeAsString());
    return Model::Load(folder.path() / "tiny", 1, Config(""));
  };
  const auto model = load({{"location", "model.onnx.data"}});
  ASSERT_TRUE(model.ok()) << model.status();
  inference::ModelInferRequest request;
  AddInput(request, "x", inference::TYPE_FP32, {1, 2, 4}, Raw(std::vector<float>(8, 3)));
  const auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(Values<float>((*outputs)[1])[7], 6);

  const absl::Status shorter = load({{"location", "model.onnx.data"}, {"length", "8"}}).status();
  EXPECT_NE(Message(shorter).find("holds 8 bytes, its dimensions say 16"), std::string_view::npos)
      << shorter;
}

}  // namespace
}  // namespace inferpool::modelserver::onnx_graph
