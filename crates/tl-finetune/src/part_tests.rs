//! Every form of a part, and every way to get it wrong. What Keras covers is written down, not computed.

use super::*;
use crate::nets::{resnet, tiny, vgg16, vgg16_with_input};

fn names(net: &NetInfo, part: &str) -> Vec<String> {
    let covered = select(net, part).unwrap_or_else(|error| panic!("{error}"));
    let layers = net.layers.iter().zip(covered).filter(|(_, covered)| *covered);
    layers.map(|(layer, _)| layer.name.clone()).collect()
}

fn fault(net: &NetInfo, part: &str) -> String {
    select(net, part).map(|_| ()).unwrap_err().to_string()
}

const STAGE5: [&str; 3] = ["block5_conv1", "block5_conv2", "block5_conv3"];

#[test]
fn many_spellings_of_the_last_stage_of_vgg16() {
    let net = vgg16();
    assert_eq!(net.layers.len(), 18);
    assert_eq!(net.layers.iter().map(|layer| layer.params).sum::<usize>(), 14_714_688);
    for part in [
        "stage5",
        "block5",
        "block5*",
        "block5_conv*",
        "last-1-stage",
        "last-1-stages",
        "last-1-block",
        "last-4-layers",
        "last-3-weight-layers",
        "layers[-4:]",
        "layers[ -4 : ]",
        "layers[-4:18]",
        "layers[14:]",
        "layers[14:18]",
        "layers[14:-1]",
        "stage5..",
        "stage5..stage5",
        " stage5 ",
    ] {
        assert_eq!(names(&net, part), STAGE5, "{part}");
    }
}

#[test]
fn with_the_input_layer_indices_are_those_of_keras() {
    let net = vgg16_with_input();
    for part in ["layers[15:]", "layers[15:19]", "layers[-4:]", "last-4-layers", "stage5"] {
        assert_eq!(names(&net, part), STAGE5, "{part}");
    }
    assert_eq!(names(&net, "layers[:4]"), ["block1_conv1", "block1_conv2"]);
}

#[test]
fn counts_are_of_what_they_say() {
    let net = vgg16();
    assert_eq!(names(&net, "last-2-layers"), ["block5_conv3"]);
    assert_eq!(names(&net, "last-5-layers"), STAGE5, "the pool of stage 4 counts and has nothing to train");
    assert_eq!(names(&net, "last-4-weight-layers")[0], "block4_conv3");
    assert_eq!(names(&net, "last-1-weight-layer"), ["block5_conv3"]);
    assert_eq!(names(&net, "layers[:-4]").len(), 10);
    assert_eq!(names(&net, "layers[:]"), names(&net, "all"));
    assert_eq!(names(&net, "last-5-stages"), names(&net, "all"));
    assert_eq!(names(&net, "last-18-layers"), names(&net, "all"));
    assert_eq!(names(&net, "layers[-18:]"), names(&net, "all"));
    let net = resnet();
    assert_eq!(names(&net, "last-1-block"), names(&net, "layer4.1"));
    assert_eq!(names(&net, "last-3-blocks"), [names(&net, "layer3.1"), names(&net, "layer4")].concat());
    assert_eq!(names(&net, "last-3-layers"), ["layer4.1.bn2"]);
    assert_eq!(names(&net, "last-2-weight-layers"), ["layer4.1.conv2", "layer4.1.bn2"]);
}

#[test]
fn names_patterns_and_ranges() {
    let net = resnet();
    assert_eq!(names(&net, "layer4.1.conv2"), ["layer4.1.conv2"]);
    assert_eq!(names(&net, "layer4.*.conv1"), ["layer4.0.conv1", "layer4.1.conv1"]);
    assert_eq!(names(&net, "layer4.*"), names(&net, "layer4"));
    assert_eq!(names(&net, "*.downsample.0").len(), 4);
    assert_eq!(names(&net, "*"), names(&net, "all"));
    assert_eq!(names(&net, "layer3..").len(), 20);
    assert_eq!(names(&net, "layer2..layer3"), [names(&net, "layer2"), names(&net, "layer3")].concat());
    assert_eq!(
        names(&net, "pool..layer1"),
        names(&net, "layer1"),
        "a stage that only pools may begin a range"
    );
    assert_eq!(names(&net, "stem"), ["conv1", "bn1"], "stage and block share a name");
    assert!(names(&net, "head").is_empty());
}

#[test]
fn names_of_the_net_go_before_forms() {
    let mut net = tiny();
    net.layers[0].name = "last-conv".to_owned();
    assert_eq!(names(&net, "last-conv"), ["last-conv"]);
    net.stages[1].name = "all".to_owned();
    assert_eq!(names(&net, "all").len(), 6, "`all` stays what it is");
}

#[test]
fn globs_match_whole_names() {
    for (glob, name, expected) in [
        ("a*", "a", true),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("*b*", "abc", true),
        ("a*b*c", "axbxbxc", true),
        ("a*b*c", "axcxb", false),
        ("a**c", "abc", true),
        ("b*", "abc", false),
        ("*b", "abc", false),
        ("é*", "één", true),
        ("abc", "abcd", false),
    ] {
        assert_eq!(matches(glob, name), expected, "{glob} {name}");
    }
}

#[test]
fn unknown_names_get_the_nearest() {
    let net = resnet();
    let stages = "stem, pool, layer1, layer2, layer3, layer4";
    for (part, near) in [
        ("layr4", "layer4"),
        ("Layer4", "layer4"),
        ("layer4_1", "layer4.1"),
        ("layer4.1.con2", "layer4.1.conv2"),
        ("layer4.0.downsample", "layer4.0.downsample.*"),
        ("heads", "head"),
    ] {
        let expected = format!(
            "part `{part}`: no stage, block or layer has this name, did you mean `{near}`? The stages are {stages}"
        );
        assert_eq!(fault(&net, part), expected);
    }
    assert_eq!(
        fault(&net, "fc"),
        format!("part `fc`: no stage, block or layer has this name; the stages are {stages}")
    );
    assert!(fault(&net, "").starts_with("part ``: no stage"));
    let mut net = vgg16();
    net.stages[4].blocks[0] = "features".to_owned();
    assert!(fault(&net, "block5").contains("did you mean `block5_*`?"));
}

#[test]
fn what_reaches_outside_the_net_is_not_clipped() {
    let net = vgg16();
    for (part, has) in [
        ("last-6-stages", "5 stages"),
        ("last-6-blocks", "5 blocks"),
        ("last-19-layers", "18 layers"),
        ("last-14-weight-layers", "13 weight-layers"),
        ("last-99999999999999999999-layers", "18 layers"),
        ("layers[15:19]", "18 layers"),
        ("layers[100:]", "18 layers"),
        ("layers[-19:]", "18 layers"),
        ("layers[:-99999999999999999999]", "18 layers"),
    ] {
        assert_eq!(fault(&net, part), format!("part `{part}`: the net has only {has}"));
    }
}

#[test]
fn what_covers_nothing_is_refused() {
    let net = vgg16();
    for part in ["layers[18:]", "layers[:0]", "layers[5:5]", "layers[9:3]", "layers[-4:-4]", "layers[:-18]"] {
        let expected = format!(
            "part `{part}`: it covers no layer; hint: `layers[A:B]` goes from layer A to the one before B"
        );
        assert_eq!(fault(&net, part), expected);
    }
    for unit in ["stages", "blocks", "layers", "weight-layers"] {
        let part = format!("last-0-{unit}");
        assert_eq!(
            fault(&net, &part),
            format!("part `{part}`: it asks for the last 0 {unit}, expected at least 1")
        );
    }
    for part in ["block5_pool", "*_pool", "last-1-layer", "layers[-1:]", "layers[2:3]"] {
        let expected = format!("part `{part}`: it has no parameters, so there is nothing to train");
        assert_eq!(fault(&net, part), expected);
    }
    assert!(fault(&resnet(), "pool").ends_with("nothing to train"));
    assert_eq!(
        fault(&net, "*fc*"),
        "part `*fc*`: no layer has a name like this; hint: `tl summary` lists the layers"
    );
}

#[test]
fn patterns_that_match_nothing_get_the_nearest_layers() {
    for (net, part, near) in [
        (vgg16(), "block9*", "`block1_conv1`, `block1_conv2`, `block2_conv1`"),
        (resnet(), "layer4.*.con1", "`layer4.0.conv1`, `layer4.1.conv1`"),
        (resnet(), "layr3.*.bn1", "`layer3.0.bn1`, `layer3.1.bn1`"),
        (
            resnet(),
            "*.downsampel.0",
            "`layer1.0.downsample.0`, `layer2.0.downsample.0`, `layer3.0.downsample.0`",
        ),
    ] {
        let expected = format!("part `{part}`: no layer has a name like this; hint: nearest are {near}");
        assert_eq!(fault(&net, part), expected);
    }
    for (glob, name, expected) in [
        ("a*c", "abc", 0),
        ("*", "", 0),
        ("*", "abc", 0),
        ("a*d", "abc", 1),
        ("*.bn", "x.bm", 1),
        ("abc", "", 3),
        ("", "abc", 3),
        ("b*", "abc", 1),
    ] {
        assert_eq!(edits(glob, name), expected, "{glob} {name}");
    }
}

#[test]
fn forms_that_go_wrong_say_what_was_expected() {
    let net = vgg16();
    for part in [
        "last-x-layers",
        "last--layers",
        "last-4-convs",
        "last-4",
        "last-",
        "last--1-layers",
        "last-+1-layers",
    ] {
        let expected = format!(
            "part `{part}`: expected `last-N-stages`, `last-N-blocks`, `last-N-layers` or \
             `last-N-weight-layers`, N a number from 1"
        );
        assert_eq!(fault(&net, part), expected);
    }
    for part in [
        "layers[4]",
        "layers[]",
        "layers[::2]",
        "layers[a:]",
        "layers[--4:]",
        "layers[-4:",
        "model.layers[1:]",
    ] {
        let expected = format!(
            "part `{part}`: expected `layers[A:B]`, A and B whole numbers or left out, as `layers[-4:]`"
        );
        assert_eq!(fault(&net, part), expected);
    }
    for part in ["..stage2", ".."] {
        let expected = format!("part `{part}`: expected `FIRST..` or `FIRST..LAST`, both names of stages");
        assert_eq!(fault(&net, part), expected);
    }
}

#[test]
fn ranges_that_go_wrong_name_both_ends() {
    let net = tiny();
    assert_eq!(
        fault(&net, "stagee1..xyz"),
        "part `stagee1..xyz`: a range goes from stage to stage, and `stagee1` is none (did you mean `stage1`?) and \
         `xyz` is none; the stages are stem, stage1, stage2"
    );
    assert_eq!(
        fault(&net, "stage1..head"),
        "part `stage1..head`: a range goes from stage to stage, and `head` is a part of its own; the stages are \
         stem, stage1, stage2"
    );
    assert_eq!(
        fault(&net, "stage2..stem"),
        "part `stage2..stem`: `stem` comes before `stage2`; hint: `stem..stage2`"
    );
}

#[test]
fn an_empty_net_has_no_parts() {
    let net = NetInfo::default();
    for part in ["all", "*", "a", "a..", "last-1-layer", "layers[:]", "layers[0:]"] {
        assert!(select(&net, part).is_err(), "{part}");
    }
}
