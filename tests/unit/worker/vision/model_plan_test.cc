#include "worker/vision/model_plan.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

using Shape = std::vector<std::int64_t>;

// A model as Ultralytics exports it, with one output of the given shape.
ModelDescription Model(Shape output, std::size_t class_names = 0,
                       const std::string& output_name = "output0") {
  ModelDescription model;
  model.name = "net";
  model.inputs = {{"images", "FP32", {1, 3, 480, 640}}};
  model.outputs = {{output_name, "FP32", std::move(output)}};
  model.class_names.resize(class_names, "thing");
  return model;
}

std::string Complaint(const ModelDescription& model) {
  const auto plan = MakePlan(model);
  if (!plan.ok()) {
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(Message(plan.status()));
  }
  return "none: " + std::string(Name(plan->family));
}

void ExpectFamily(const ModelDescription& model, Family family, std::size_t classes) {
  const auto plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(Name(plan->family), Name(family));
  EXPECT_EQ(plan->classes, classes);
}

// An input of 640 x 480 pixels has 80 x 60 + 40 x 30 + 20 x 15 cells.
constexpr std::int64_t kCells = 6300;

TEST(FamilyTest, TellsRawHeadsByTheirAnchors) {
  ExpectFamily(Model({1, 84, kCells}), Family::kYoloV8, 80);
  ExpectFamily(Model({1, 84, kCells}, 80), Family::kYoloV8, 80);
  ExpectFamily(Model({1, 3 * kCells, 85}), Family::kYoloV5, 80);
  ExpectFamily(Model({1, 3 * kCells, 85}, 80), Family::kYoloV5, 80);
  ExpectFamily(Model({1, 3 * kCells, 6}, 1), Family::kYoloV5, 1);
  ExpectFamily(Model({84, kCells}), Family::kYoloV8, 80);
  // Grids of the strides 4 or 64 besides; 16 and 32 alone.
  ExpectFamily(Model({1, 84, kCells + 160 * 120}), Family::kYoloV8, 80);
  ExpectFamily(Model({1, 84, kCells + 10 * 8}), Family::kYoloV8, 80);
  ExpectFamily(Model({1, 84, kCells - 80 * 60}), Family::kYoloV8, 80);
  // With other numbers of anchors only the names can tell.
  ExpectFamily(Model({1, 84, 21}, 80), Family::kYoloV8, 80);
  ExpectFamily(Model({1, 63, 85}, 80), Family::kYoloV5, 80);
  EXPECT_TRUE(MakePlan(Model({1, 84, kCells}))->told_by_shape);
  EXPECT_FALSE(MakePlan(Model({1, 84, kCells}, 80))->told_by_shape);
}

// Each of these was once answered as a detector.
TEST(FamilyTest, TablesThatAreNoDetectorsAreNotTold) {
  for (const Shape& shape : {
           Shape{1, 300, 84},        // RT-DETR without names
           Shape{1, 1, 480, 640},    // one plane as large as the picture
           Shape{1, 1, 120, 160},    // a heat map of one class
           Shape{1, 480, 640},       //
           Shape{1, 197, 768},       // tokens
           Shape{1, 40, 6625},       // a line of text
           Shape{1, 300, 57},        // finished poses
           Shape{1, 300, 7},         // finished turned boxes
           Shape{1, 300, 38},        // finished segments without their prototypes
           Shape{1, 8400, 85},       // the anchors of another input
           Shape{1, kCells, 85},     // one anchor a cell: YOLOX or YOLOv6
           Shape{1, 1, 84, kCells},  //
           Shape{1, 2000, 6},        // too many rows to be finished
       }) {
    const std::string complaint = Complaint(Model(shape));
    EXPECT_NE(complaint.find("cannot tell its family"), std::string::npos) << complaint;
    EXPECT_NE(complaint.find("set parameters { key: \"family\""), std::string::npos) << complaint;
  }
  EXPECT_NE(Complaint(Model({1, kCells, 85}, 80)).find("cannot tell"), std::string::npos);
}

TEST(FamilyTest, SettlesOpenLengthsByTheClassNames) {
  ExpectFamily(Model({-1, 84, -1}), Family::kYoloV8, 80);
  ExpectFamily(Model({-1, -1, 85}, 80), Family::kYoloV5, 80);
  ExpectFamily(Model({-1, -1, 6}, 80), Family::kNmsFree, 80);
  EXPECT_NE(Complaint(Model({-1, -1, 85})).find("cannot tell"), std::string::npos);
  EXPECT_NE(Complaint(Model({-1, -1, 6})).find("cannot tell"), std::string::npos);
  EXPECT_NE(Complaint(Model({-1, -1, 6}, 1)).find("cannot tell"), std::string::npos);
  EXPECT_NE(Complaint(Model({-1, -1, -1}, 80)).find("cannot tell"), std::string::npos);
  ModelDescription told = Model({-1, -1, -1}, 80);
  told.parameters["family"] = "yolov8";
  ExpectFamily(told, Family::kYoloV8, 80);
}

TEST(FamilyTest, APlanSaysWhetherItsFamilyWasNamed) {
  ModelDescription model = Model({-1, -1, 85}, 80);
  EXPECT_FALSE(MakePlan(model)->family_named);
  model.parameters["family"] = "yolov5";
  EXPECT_TRUE(MakePlan(model)->family_named);
}

TEST(FamilyTest, TellsFinishedBoxes) {
  ExpectFamily(Model({1, 300, 6}, 80), Family::kNmsFree, 80);
  ExpectFamily(Model({300, 6}), Family::kNmsFree, 0);
  ModelDescription model = Model({1, 100, 4}, 2, "det_boxes");
  model.outputs.push_back({"num_dets", "INT32", {1, 1}});
  model.outputs.push_back({"det_scores", "FP32", {1, 100}});
  model.outputs.push_back({"det_classes", "INT32", {1, 100}});
  ExpectFamily(model, Family::kEndToEnd, 2);
  EXPECT_EQ(MakePlan(model)->outputs,
            (std::vector<std::string>{"num_dets", "det_boxes", "det_scores", "det_classes"}));
}

ModelDescription Segment(Shape table, std::size_t names = 0) {
  ModelDescription model = Model(std::move(table), names);
  model.outputs.push_back({"output1", "FP32", {1, 32, 120, 160}});
  return model;
}

TEST(FamilyTest, ASecondOutputTellsSegments) {
  ExpectFamily(Segment({1, 4 + 80 + 32, kCells}, 80), Family::kYoloV8Segment, 80);
  ExpectFamily(Segment({1, 4 + 80 + 32, kCells}), Family::kYoloV8Segment, 80);
  EXPECT_EQ(MakePlan(Segment({1, 116, kCells}))->outputs,
            (std::vector<std::string>{"output0", "output1"}));
  ExpectFamily(Segment({1, 300, 6 + 32}), Family::kSegmentNmsFree, 0);
  EXPECT_NE(Complaint(Segment({1, 116, 1234})).find("cannot tell"), std::string::npos);
  // Names that say that all of it is classes leave nothing for the masks.
  ExpectFamily(Segment({1, 84, kCells}, 80), Family::kYoloV8, 80);
  ModelDescription model = Segment({1, 116, kCells});
  model.parameters["family"] = "yolov8";
  EXPECT_NE(Complaint(model).find("it is yolov8_segment"), std::string::npos);
}

TEST(FamilyTest, TheMetadataTellsPosesAndTurnedBoxes) {
  ModelDescription pose = Model({1, 4 + 1 + 51, kCells}, 1);
  EXPECT_NE(Complaint(pose).find("cannot tell"), std::string::npos);
  pose.parameters = {{"task", "pose"}, {"kpt_shape", "[17, 3]"}};
  ExpectFamily(pose, Family::kYoloV8Pose, 1);
  EXPECT_EQ(MakePlan(pose)->keypoints, 17U);
  EXPECT_EQ(MakePlan(pose)->keypoint_values, 3U);
  pose.outputs[0].shape = {1, 4 + 1 + 8, kCells};
  pose.parameters["kpt_shape"] = "(4, 2)";
  ExpectFamily(pose, Family::kYoloV8Pose, 1);
  EXPECT_EQ(MakePlan(pose)->keypoint_values, 2U);
  pose.outputs[0].shape = {1, 300, 6 + 51};
  pose.parameters["kpt_shape"] = "[17, 3]";
  ExpectFamily(pose, Family::kPoseNmsFree, 1);
  pose.parameters["family"] = "yolov8";
  EXPECT_NE(Complaint(pose).find("the model's own task is pose"), std::string::npos);

  ModelDescription obb = Model({1, 4 + 15 + 1, kCells}, 15);
  EXPECT_NE(Complaint(obb).find("cannot tell"), std::string::npos)
      << "a label file with a line too few looks the same";
  obb.parameters["task"] = "obb";
  ExpectFamily(obb, Family::kYoloV8Obb, 15);
  obb.outputs[0].shape = {1, 300, 7};
  ExpectFamily(obb, Family::kObbNmsFree, 15);
}

TEST(FamilyTest, TheFamilyAloneTellsWhereThereIsNoMetadata) {
  ModelDescription pose = Model({1, 4 + 1 + 51, kCells});
  pose.parameters["family"] = "yolov8_pose";
  ExpectFamily(pose, Family::kYoloV8Pose, 1);
  EXPECT_EQ(MakePlan(pose)->keypoints, 17U);
  pose.outputs[0].shape = {1, 6, 6 + 51};
  pose.parameters["family"] = "pose_nms_free";
  ExpectFamily(pose, Family::kPoseNmsFree, 0);
  EXPECT_EQ(MakePlan(pose)->keypoints, 17U);
  pose.outputs[0].shape = {1, 6, 6 + 50};
  EXPECT_NE(Complaint(pose).find("kpt_shape"), std::string::npos);
  ModelDescription obb = Model({1, 4 + 15 + 1, kCells});
  obb.parameters["family"] = "yolov8_obb";
  ExpectFamily(obb, Family::kYoloV8Obb, 15);
}

TEST(FamilyTest, RtDetrIsToldByItsNames) {
  ExpectFamily(Model({1, 300, 84}, 80), Family::kRtDetr, 80);
  EXPECT_TRUE(MakePlan(Model({1, 300, 84}, 80))->normalized_boxes);
  EXPECT_EQ(MakePlan(Model({1, 300, 84}, 80))->input.resize, Resize::kStretch);
  EXPECT_NE(Complaint(Model({1, kCells, 84}, 80)).find("cannot tell"), std::string::npos)
      << "a YOLO's table on its side";
  // Two classes look like finished rows, which only the numbers can tell.
  ExpectFamily(Model({1, 300, 6}, 2), Family::kNmsFree, 2);
  ModelDescription two = Model({1, 300, 6}, 2);
  two.parameters["family"] = "rt_detr";
  ExpectFamily(two, Family::kRtDetr, 2);
  // One class looks like rows of a box and a score.
  ModelDescription one = Model({1, 300, 5}, 1);
  EXPECT_NE(Complaint(one).find("cannot tell"), std::string::npos) << Complaint(one);
  one.parameters["head"] = "RTDETRDecoder";
  ExpectFamily(one, Family::kRtDetr, 1);
  one.parameters = {{"family", "rt_detr"}};
  ExpectFamily(one, Family::kRtDetr, 1);
  // Since Ultralytics 8.4: the best class of each query, and the name of the head.
  ModelDescription best = Model({-1, -1, 6}, 80);
  best.parameters = {{"task", "detect"}, {"end2end", "False"}, {"head", "RTDETRDecoder"}};
  ExpectFamily(best, Family::kRtDetr, 80);
  best.parameters.erase("end2end");
  ExpectFamily(best, Family::kRtDetr, 80);
}

TEST(FamilyTest, SsdsAreToldByTheNamesOfTheirOutputs) {
  ModelDescription model = Model({1, 100, 4}, 90, "detection_boxes");
  model.outputs.push_back({"detection_classes", "FP32", {1, 100}});
  model.outputs.push_back({"detection_scores", "FP32", {1, 100}});
  model.outputs.push_back({"num_detections", "FP32", {1}});
  model.outputs.push_back({"raw_detection_boxes", "FP32", {1, 1917, 4}});
  ExpectFamily(model, Family::kSsd, 90);
  EXPECT_EQ(MakePlan(model)->outputs,
            (std::vector<std::string>{"detection_boxes", "detection_scores", "detection_classes",
                                      "num_detections"}));
  EXPECT_TRUE(MakePlan(model)->corners_y_first);
  EXPECT_TRUE(MakePlan(model)->normalized_boxes);
  EXPECT_EQ(MakePlan(model)->first_class, 1);
  model.parameters["first_class"] = "0";
  EXPECT_EQ(MakePlan(model)->first_class, 0);
  model.parameters["first_class"] = "one";
  EXPECT_NE(Complaint(model).find("first_class is \"one\""), std::string::npos);

  for (const bool named : {true, false}) {
    ModelDescription vision = Model({-1, 4}, 91, named ? "boxes" : "4711");
    vision.outputs.push_back({named ? "labels" : "4713", "INT64", {-1}});
    vision.outputs.push_back({named ? "scores" : "4712", "FP32", {-1}});
    ExpectFamily(vision, Family::kSsd, 91);
    EXPECT_FALSE(MakePlan(vision)->normalized_boxes);
    EXPECT_EQ(MakePlan(vision)->outputs[1], named ? "scores" : "4712");
    vision.outputs.push_back({"masks", "FP32", {-1, 1, 480, 640}});
    EXPECT_NE(Complaint(vision).find("cannot tell"), std::string::npos);
  }
}

TEST(FamilyTest, BoxesAndScoresInTwoOutputsAreNotRead) {
  ModelDescription model = Model({1, 300, 4}, 0, "dets");
  model.outputs.push_back({"labels", "FP32", {1, 300, 91}});
  EXPECT_NE(Complaint(model).find("cannot tell"), std::string::npos);
  model.outputs.erase(model.outputs.begin());
  EXPECT_NE(Complaint(model).find("cannot tell"), std::string::npos)
      << "and listing one of them is no way out";
}

TEST(FamilyTest, YoloxHasToBeNamed) {
  ModelDescription model = Model({1, kCells, 85}, 80);
  model.parameters["family"] = "yolox";
  ExpectFamily(model, Family::kYolox, 80);
  EXPECT_FALSE(MakePlan(model)->input.rgb);
  EXPECT_EQ(MakePlan(model)->input.scale[0], 1);
  model.parameters["channels"] = "rgb";
  EXPECT_TRUE(MakePlan(model)->input.rgb);
  model.parameters["family"] = "yolov5";
  ExpectFamily(model, Family::kYoloV5, 80);
}

TEST(FamilyTest, TellsVectors) {
  ExpectFamily(Model({1, 1000}), Family::kClassification, 1000);
  ExpectFamily(Model({-1, 6}, 6), Family::kClassification, 6);
  EXPECT_FALSE(MakePlan(Model({1, 6}, 6))->told_by_shape);
  EXPECT_FALSE(MakePlan(Model({1, 6}, 0, "logits"))->told_by_shape);
  EXPECT_FALSE(MakePlan(Model({1, 1000}))->told_by_shape);
  EXPECT_TRUE(MakePlan(Model({1, 136}))->told_by_shape) << "it may be landmarks";
  ExpectFamily(Model({1, 512}, 0, "Image_Embeddings"), Family::kEmbedding, 0);
  ExpectFamily(Model({1, 2048, 1, 1}, 0, "features"), Family::kEmbedding, 0);
  EXPECT_EQ(MakePlan(Model({1, 1000}))->input.resize, Resize::kCrop);
  EXPECT_EQ(MakePlan(Model({1, 84, kCells}))->input.resize, Resize::kLetterbox);
  ModelDescription both = Model({1, 197, 768}, 0, "last_hidden_state");
  both.outputs.push_back({"pooler_output", "FP32", {1, 768}});
  ExpectFamily(both, Family::kEmbedding, 0);
  both.outputs[1].name = "other";
  EXPECT_NE(Complaint(both).find("cannot tell"), std::string::npos);
}

TEST(FamilyTest, ABatchingModelsShapesStartWithTheBatch) {
  ModelDescription model = Model({-1, 300, 6});
  model.max_batch_size = 8;
  model.inputs[0].shape = {-1, 3, 480, 640};
  ExpectFamily(model, Family::kNmsFree, 0);
  model.outputs[0].shape = {-1, 10};
  ExpectFamily(model, Family::kClassification, 10);
  model.inputs[0].shape = {3, 480, 640};
  EXPECT_NE(Complaint(model).find("one picture must be"), std::string::npos);
}

TEST(FamilyTest, TheParameterOverridesTheShape) {
  ModelDescription model = Model({1, 1000});
  model.parameters["family"] = "embedding";
  ExpectFamily(model, Family::kEmbedding, 0);
  // A leading -1 that is not the batch.
  model = Model({-1, 6});
  model.parameters["family"] = "nms_free";
  ExpectFamily(model, Family::kNmsFree, 0);
  model.parameters["family"] = "yolov5";
  ExpectFamily(model, Family::kYoloV5, 1);
  model.parameters["family"] = "end_to_end";
  EXPECT_NE(Complaint(model).find("needs the outputs num_dets"), std::string::npos);
}

TEST(FamilyTest, RawHeadsBesideTheDetectionsDoNotMatterWithNames) {
  ModelDescription model = Model({1, 84, kCells}, 80);
  model.outputs.push_back({"raw", "FP32", {1, 3, 60, 80, 85}});
  ExpectFamily(model, Family::kYoloV8, 80);
  model.outputs.push_back({"other", "FP32", {1, 84, kCells}});
  EXPECT_NE(Complaint(model).find("cannot tell"), std::string::npos);
  model.parameters["family"] = "yolov8";
  EXPECT_NE(Complaint(model).find("output0 and other are both tables"), std::string::npos);
}

TEST(FamilyTest, ClassNamesThatDoNotFitAreRefused) {
  EXPECT_NE(Complaint(Model({1, 84, kCells}, 20)).find("with 20 class names"), std::string::npos);
  EXPECT_NE(Complaint(Model({1, 1000}, 10)).find("means 1000 classes, but there are 10"),
            std::string::npos);
  ModelDescription model = Model({1, 84, kCells}, 20);
  model.parameters["family"] = "yolov8";
  EXPECT_NE(Complaint(model).find("which means 80 classes, but there are 20"), std::string::npos);
}

TEST(FamilyTest, ReadsTheInputsLayout) {
  ModelDescription model = Model({1, 84, kCells});
  auto plan = MakePlan(model);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->input_name, "images");
  EXPECT_EQ(plan->input.size, cv::Size(640, 480));
  EXPECT_TRUE(plan->input.channels_first);
  EXPECT_TRUE(plan->input.rgb);
  EXPECT_EQ(plan->input.datatype, Datatype::kFp32);
  EXPECT_FLOAT_EQ(plan->input.scale[0], 1.0F / 255);
  EXPECT_EQ(plan->input.offset[0], 0);
  EXPECT_TRUE(plan->has_batch_dimension);
  EXPECT_EQ(RowShape(*plan, {640, 480}, 9), (Shape{3, 480, 640}));
  EXPECT_EQ(WireDatatype(*plan), "FP32");

  model.inputs = {{"images", "FP16", {480, 640, 3}}};
  model.outputs[0].shape = {84, kCells};
  model.parameters = {{"channels", "bgr"}, {"mean", "0.5,0.25,0"}, {"std", "0.5"}};
  plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->input.channels_first);
  EXPECT_FALSE(plan->input.rgb);
  EXPECT_EQ(plan->input.datatype, Datatype::kFp16);
  EXPECT_FLOAT_EQ(plan->input.scale[0], 2.0F / 255);
  EXPECT_FLOAT_EQ(plan->input.offset[0], -1);
  EXPECT_FLOAT_EQ(plan->input.offset[1], -0.5);
  EXPECT_FALSE(plan->has_batch_dimension);
  EXPECT_EQ(RowShape(*plan, {640, 480}, 9), (Shape{480, 640, 3}));
}

TEST(FamilyTest, BoxesAreInPixelsUnlessTheParameterSaysElse) {
  ModelDescription model = Model({1, 84, kCells});
  EXPECT_FALSE(MakePlan(model)->normalized_boxes);
  model.parameters["box_coordinates"] = "normalized";
  ASSERT_TRUE(MakePlan(model).ok()) << MakePlan(model).status();
  EXPECT_TRUE(MakePlan(model)->normalized_boxes);
}

TEST(FamilyTest, ScoresAreWhatTheParameterSays) {
  ModelDescription model = Model({1, 1000});
  EXPECT_EQ(MakePlan(model)->scores, Scores::kAuto);
  model.parameters["scores"] = "logits";
  EXPECT_EQ(MakePlan(model)->scores, Scores::kLogits);
}

TEST(FamilyTest, AParameterThatMakesNoSenseIsRefusedWithTheModelsName) {
  for (const auto& [name, value] : {std::pair("box_coordinates", "polar"),
                                    {"family", "yolov99"},
                                    {"resize", "no"},
                                    {"input_size", "0x0"}}) {
    ModelDescription model = Model({1, 84, kCells});
    model.parameters[name] = value;
    const std::string complaint = Complaint(model);
    EXPECT_TRUE(complaint.starts_with("model net: ")) << complaint;
    EXPECT_NE(complaint.find(name), std::string::npos) << complaint;
  }
}

TEST(FamilyTest, BytesOfAnySizeGoAsTheyAre) {
  ModelDescription model = Model({-1, 6}, 80);
  model.inputs = {{"image", "UINT8", {-1, -1, 3}}};
  const auto plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->family, Family::kNmsFree);
  EXPECT_TRUE(plan->input.size.empty());
  EXPECT_EQ(plan->input.max_side, 1280);
  EXPECT_EQ(RowShape(*plan, {20, 10}, 9), (Shape{10, 20, 3}));
  model.parameters["max_side"] = "500";
  EXPECT_EQ(MakePlan(model)->input.max_side, 500);
  model.parameters["resize"] = "crop";
  EXPECT_NE(Complaint(model).find("resize needs an input of fixed size"), std::string::npos);
  model.parameters = {{"scale", "1"}};
  EXPECT_NE(Complaint(model).find("for FP32 and FP16"), std::string::npos);
}

TEST(FamilyTest, AnInputMayHaveOpenSides) {
  ModelDescription model = Model({-1, -1, 6}, 80);
  model.inputs = {{"image", "FP32", {-1, 3, -1, -1}}};
  EXPECT_NE(Complaint(model).find("or multiple_of"), std::string::npos);
  model.parameters = {{"multiple_of", "32"}, {"max_side", "960"}};
  auto plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->input.size, cv::Size(0, 0));
  EXPECT_EQ(plan->input.max_side, 960);
  EXPECT_EQ(plan->input.multiple_of, 32);
  model.inputs = {{"image", "FP32", {-1, 3, 48, -1}}};
  plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->input.size, cv::Size(0, 48));
  model.parameters["max_side"] = "970";
  EXPECT_NE(Complaint(model).find("max_side is 970, which is not a multiple of 32"),
            std::string::npos);
  model.parameters["max_side"] = "960";
  model.parameters["input_size"] = "960x48";
  EXPECT_NE(Complaint(model).find("for inputs of open size"), std::string::npos);
}

TEST(FamilyTest, AModelMayTakeThePicturesFile) {
  ModelDescription model = Model({-1, 6}, 80);
  for (const Shape& shape : {Shape{1}, Shape{-1}, Shape{}}) {
    model.inputs = {{"image", "BYTES", shape}};
    const auto plan = MakePlan(model);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->input_kind, InputKind::kFile);
    EXPECT_EQ(WireDatatype(*plan), "BYTES");
    EXPECT_EQ(RowShape(*plan, {20, 10}, 77), (Shape{1}));
    // Boxes are in the picture's own pixels.
    EXPECT_EQ(Place(plan->input, {4000, 3000}).input, cv::Size(4000, 3000));
  }
  model.inputs = {{"image", "UINT8", {-1}}};
  EXPECT_EQ(MakePlan(model)->input_kind, InputKind::kFileBytes);
  EXPECT_EQ(WireDatatype(*MakePlan(model)), "UINT8");
  EXPECT_EQ(RowShape(*MakePlan(model), {20, 10}, 77), (Shape{77}));
  model.max_batch_size = 4;
  model.inputs = {{"image", "BYTES", {-1, 1}}};
  model.outputs[0].shape = {-1, -1, 6};
  EXPECT_TRUE(MakePlan(model)->has_batch_dimension);

  // The server letterboxes; boxes come in the letterbox's pixels.
  model.parameters["input_size"] = "640";
  EXPECT_EQ(Place(MakePlan(model)->input, {1280, 640}).content, cv::Rect(0, 160, 640, 320));
  model.parameters["scale"] = "1";
  EXPECT_NE(Complaint(model).find("scale, mean, std, max_side and multiple_of are the server's"),
            std::string::npos);
  model.parameters = {{"resize", "crop"}};
  EXPECT_NE(Complaint(model).find("resize needs"), std::string::npos);
}

// As ops/models/faces_cascade and ops/models/shapes describe themselves.
TEST(FamilyTest, PlansTheSampleModels) {
  ModelDescription faces = Model({100, 4}, 1, "det_boxes");
  faces.inputs = {{"image", "UINT8", {-1, -1, 3}}};
  faces.outputs.push_back({"num_dets", "INT32", {1}});
  faces.outputs.push_back({"det_scores", "FP32", {100}});
  faces.outputs.push_back({"det_classes", "INT32", {100}});
  ExpectFamily(faces, Family::kEndToEnd, 1);
  EXPECT_TRUE(MakePlan(faces)->input.rgb);
  EXPECT_FALSE(MakePlan(faces)->has_batch_dimension);

  ModelDescription shapes = Model({-1, 8, 2100}, 4);
  shapes.max_batch_size = 16;
  shapes.inputs = {{"images", "FP32", {-1, 3, 320, 320}}};
  ExpectFamily(shapes, Family::kYoloV8, 4);
  EXPECT_EQ(RowShape(*MakePlan(shapes), {320, 320}, 9), (Shape{3, 320, 320}));
}

TEST(FamilyTest, FloatsOfAnySizeNeedOneSet) {
  ModelDescription model = Model({-1, 84, -1});
  model.inputs[0].shape = {-1, 3, -1, -1};
  EXPECT_NE(Complaint(model).find("key: \"input_size\" value: { string_value: \"640x640\" }"),
            std::string::npos);
  model.parameters["input_size"] = "320x256";
  const auto plan = MakePlan(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->input.size, cv::Size(320, 256));
  model.inputs[0].shape = {-1, 3, 640, -1};
  EXPECT_NE(Complaint(model).find("input_size is 320x256 but"), std::string::npos);
}

TEST(FamilyTest, RefusesInputsThatAreNoPicture) {
  ModelDescription model = Model({1, 84, kCells});
  model.inputs.push_back(model.inputs[0]);
  EXPECT_NE(Complaint(model).find("has 2 inputs"), std::string::npos);
  model.inputs.clear();
  EXPECT_NE(Complaint(model).find("has 0 inputs"), std::string::npos);
  for (const Shape& shape : {Shape{}, Shape{1, 1, 28, 28}, Shape{-1, -1, -1, -1}, Shape{3, 224, 3},
                             Shape{2, 3, 224, 224}, Shape{1, 3, 0, 224}, Shape{1, 3, 224, 100000},
                             Shape{1, 3, -7, 224}}) {
    model.inputs = {{"images", "FP32", shape}};
    EXPECT_NE(Complaint(model).find("model net: input images is ["), std::string::npos);
  }
  model.inputs = {{"images", "BYTES", {1, 3, 224, 224}}};
  EXPECT_NE(Complaint(model).find("is BYTES"), std::string::npos);
}

TEST(FamilyTest, NoOutputsAndOddOnesAreRefused) {
  ModelDescription model = Model({1, 84, kCells});
  model.outputs.clear();
  EXPECT_NE(Complaint(model).find("cannot tell its family"), std::string::npos);
  EXPECT_NE(Complaint(Model({1, 3, 80, 80, 85})).find("cannot tell its family"), std::string::npos);
  EXPECT_NE(Complaint(Model({})).find("cannot tell its family"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::vision
