//! Contact sheets: where pictures and captions go, pages, and files that do not decode.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use common::{picture, put_bytes, two_classes};
use image::{Rgb, RgbImage};
use tl_data::sheet::{class_sheet, png, thumbnails, view_sheet};
use tl_data::{
    Cell, Contents, DataError, DataPool, Dataset, Part, Sheet, SheetOptions, SplitOptions,
    decode::decode_bytes,
};

const RED: Rgb<u8> = Rgb([255, 0, 0]);

fn options() -> SheetOptions {
    SheetOptions { columns: 3, rows: 2, thumb: 64, lines: 1 }
}

fn red(width: u32, height: u32) -> Cell {
    Cell { image: Some(RgbImage::from_pixel(width, height, RED)), caption: "red".to_owned() }
}

/// The smallest box around the red pixels: left, top, width, height.
fn red_box(page: &RgbImage) -> (u32, u32, u32, u32) {
    let at: Vec<(u32, u32)> = page.enumerate_pixels().filter(|p| *p.2 == RED).map(|p| (p.0, p.1)).collect();
    let (left, right) = (at.iter().map(|p| p.0).min().unwrap(), at.iter().map(|p| p.0).max().unwrap());
    let (top, bottom) = (at.iter().map(|p| p.1).min().unwrap(), at.iter().map(|p| p.1).max().unwrap());
    (left, top, right - left + 1, bottom - top + 1)
}

#[test]
fn pictures_keep_their_shape() {
    for (size, expected) in [
        ((640, 320), (8, 24, 64, 32)),
        ((10, 640), (39, 8, 1, 64)),
        // Enlarged by whole pixels.
        ((28, 28), (12, 12, 56, 56)),
        ((1, 1), (8, 8, 64, 64)),
        ((64, 64), (8, 8, 64, 64)),
    ] {
        let mut sheet = Sheet::new(options()).unwrap();
        assert!(sheet.push(&red(size.0, size.1)).is_none());
        let page = sheet.finish().unwrap();
        assert_eq!(red_box(&page), expected, "{size:?}");
        assert_eq!(page.width(), 8 + 3 * 72);
    }
}

#[test]
fn pages_are_split_and_none_is_empty() {
    let pages_of = |cells: usize| {
        let mut sheet = Sheet::new(options()).unwrap();
        let mut pages: Vec<RgbImage> = (0..cells).filter_map(|_| sheet.push(&red(64, 64))).collect();
        pages.extend(sheet.finish());
        pages
    };
    assert_eq!([0, 1, 6, 7, 12, 13].map(|cells| pages_of(cells).len()), [0, 1, 1, 2, 2, 3]);
    let pages = pages_of(8);
    let red = |page: &RgbImage| page.pixels().filter(|p| **p == RED).count();
    assert_eq!((red(&pages[0]), red(&pages[1])), (6 * 64 * 64, 2 * 64 * 64));
    // A page ends below what is drawn on it.
    assert!(pages[1].height() < pages[0].height());
}

#[test]
fn rows_and_headings_begin_where_they_should() {
    let mut sheet = Sheet::new(options()).unwrap();
    sheet.heading("first");
    sheet.push(&red(64, 64));
    assert!(sheet.begin_row().is_none() && sheet.begin_row().is_none());
    sheet.push(&red(64, 64));
    let page = sheet.heading("on the next page").unwrap();
    // A heading, and two rows of one picture each.
    assert_eq!(red_box(&page), (8, 8 + 18, 64, 64 + 18 + 8 + 64));
    sheet.push(&Cell { image: None, caption: "nothing here".to_owned() });
    let last = sheet.finish().unwrap();
    assert!(last.pixels().any(|p| *p == Rgb([225, 225, 225])), "an empty frame");
    assert!(last.pixels().filter(|p| p.0[0] < 130).count() > 100, "letters");
}

#[test]
fn options_are_checked() {
    for (options, text) in [
        (SheetOptions { columns: 0, ..options() }, "option `columns` is 0 (expected 1 to 64)"),
        (SheetOptions { rows: 201, ..options() }, "option `rows` is 201 (expected 1 to 200)"),
        (SheetOptions { thumb: 31, ..options() }, "option `thumb` is 31 (expected 32 to 1024)"),
        (SheetOptions { lines: 9, ..options() }, "option `lines` is 9 (expected 0 to 8)"),
    ] {
        assert_eq!(Sheet::new(options).unwrap_err().to_string(), text);
    }
    let large = SheetOptions { columns: 64, rows: 200, thumb: 1024, lines: 2 };
    assert!(Sheet::new(large).unwrap_err().to_string().contains("(expected a page of at most "));
    SheetOptions::default().check().unwrap();
}

#[test]
fn samples_of_each_class() {
    let dir = two_classes(20);
    put_bytes(dir.path(), "a/000.jpg", b"broken");
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let contents = Contents::from(&folder);
    let pages_with = |threads: usize| {
        let mut pages = Vec::new();
        let mut take = |page: RgbImage| {
            pages.push(page);
            Ok(())
        };
        let pool = DataPool::new(threads).unwrap();
        class_sheet(&contents, Part::Train, 7, &options(), &pool, &mut take).unwrap();
        pages
    };
    // Each class takes three rows of three.
    let pages = pages_with(1);
    assert_eq!(pages.len(), 3);
    assert_eq!(pages, pages_with(4));
    let bytes = png(&pages[0]).unwrap();
    assert_eq!(decode_bytes(&bytes).unwrap(), pages[0]);

    let mut fails = |_| Err(DataError::Length { expected: 1, got: 2 });
    let pool = DataPool::new(1).unwrap();
    assert!(class_sheet(&contents, Part::Train, 7, &options(), &pool, &mut fails).is_err());
    let mut none = 0;
    let mut count = |_| {
        none += 1;
        Ok(())
    };
    class_sheet(&contents, Part::Test, 7, &options(), &pool, &mut count).unwrap();
    assert_eq!(none, 1, "headings alone");
}

#[test]
fn views_of_images() {
    let dir = two_classes(2);
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    put_bytes(dir.path(), "b/000.jpg", b"broken");
    let mut samples = folder.train.clone();
    samples.extend(folder.val.clone());
    let view = |_: &tl_data::Sample, image: &RgbImage, number: usize| match number {
        0 => Ok((RgbImage::from_pixel(image.width(), image.height(), RED), "all red".to_owned())),
        _ => Err(DataError::Length { expected: 1, got: 2 }),
    };
    let mut pages = Vec::new();
    let mut take = |page: RgbImage| {
        pages.push(page);
        Ok(())
    };
    let pool = DataPool::new(2).unwrap();
    view_sheet(&samples, 2, &view, &options(), &pool, &mut take).unwrap();
    assert_eq!(pages.len(), 2);
    // The views are in the second column; the third failed, the first is the image itself.
    let (left, _, width, _) = red_box(&pages[0]);
    assert!(left >= 8 + 72 && left + width <= 8 + 2 * 72);
    assert!(pages[0].width() == 8 + 3 * 72);
    assert!(view_sheet(&samples, 64, &view, &options(), &pool, &mut |_| Ok(())).is_err());
    let nothing = picture(0, 0, 1);
    assert!(png(&nothing).is_err());
}

#[test]
fn thumbnails_are_small_and_keep_their_shape() {
    let dir = tempfile::tempdir().unwrap();
    let (wide, tiny, none) = (dir.path().join("a.png"), dir.path().join("b.png"), dir.path().join("c.png"));
    RgbImage::from_pixel(300, 150, RED).save(&wide).unwrap();
    RgbImage::from_pixel(8, 4, RED).save(&tiny).unwrap();
    std::fs::write(&none, "no image").unwrap();
    let paths = [wide.as_path(), &none, &tiny];
    let with = |threads| thumbnails(&paths, 96, &DataPool::new(threads).unwrap());
    let pictures = with(2);
    assert_eq!(pictures, with(1));
    let sizes: Vec<_> = pictures
        .iter()
        .map(|jpeg| jpeg.as_ref().map(|jpeg| decode_bytes(jpeg).unwrap().dimensions()))
        .collect();
    assert_eq!(sizes, [Some((96, 48)), None, Some((8, 4))]);
    let red = decode_bytes(pictures[0].as_ref().unwrap()).unwrap();
    let Rgb([r, g, b]) = *red.get_pixel(48, 24);
    assert!(r > 245 && g < 10 && b < 10, "{r} {g} {b}");
}
