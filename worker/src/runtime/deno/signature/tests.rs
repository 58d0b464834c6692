use super::*;

/// `name`, `{}`, `[]`, `...name`, with `:date` or `:bigint` and `=` for a default.
fn shown(source: &str) -> String {
    let Some(parameters) = of_main(source).unwrap() else { return "none".to_owned() };
    let one = |p: &Parameter| {
        let name = p.name.clone().unwrap_or_default();
        let base = match p.kind {
            Kind::Name => name,
            Kind::Object => "{}".to_owned(),
            Kind::Array => "[]".to_owned(),
            Kind::Rest => format!("...{name}"),
        };
        let conversion = match p.conversion {
            Some(Conversion::Date) => ":date",
            Some(Conversion::Bigint) => ":bigint",
            None => "",
        };
        format!("{base}{conversion}{}", if p.default { "=" } else { "" })
    };
    parameters.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_way_to_export_main() {
    for source in [
        "export function main(a, b) {}",
        "export async function main(a, b) {}",
        "export async function* main(a, b) {}",
        "export const main = (a, b) => 1",
        "export const main = async (a, b) => 1, other = 2",
        "export let main = function (a, b) {}",
        "export const main = ((a, b) => 1) as any",
        "export const main = ((a, b) => 1) satisfies F",
        "function main(a, b) {}\nexport { main }",
        "function foo(a, b) {}\nexport { x, foo as main }",
        "function foo(a, b) {}\nexport { foo as 'main' }",
        "const foo = (a, b) => 1; const bar = foo; export const main = bar",
        "export { main }; export function foo() {}; const main = function (a, b) {}",
        "import x from 'y'; export function other() {}; export async function main<T>(a: T, b?: string): Promise<T> { return a }",
        "export function main(a: string): void; export function main(a: any, b?: any) {}",
        "/* export function main(x) */ // export function main(y)\nexport function main(/* c */ a /* , z */, b, ) {}",
        "\u{feff}export function main(a, b) {}",
    ] {
        assert_eq!(shown(source), "a b", "{source}");
    }
}

#[test]
fn sources_without_a_readable_main() {
    for source in [
        "",
        "export default function main(a) {}",
        "function main(a) {}",
        "export const main = wrap((a) => 1)",
        "export * from './x'",
        "export { main } from './x'",
        "export function main(",
        "const a = a; export { a as main }",
        "const a = b, b = a; export { a as main }",
        "\"export function main(a) {}\"",
        "export class main {}",
    ] {
        assert_eq!(shown(source), "none", "{source}");
    }
    assert_eq!(shown("export function main() {}"), "");
}

#[test]
fn patterns_and_defaults() {
    assert_eq!(
        shown("export function main(a = 1, {b, c = 2, ...r}, [d] = [], {e} = {}, ...xs: number[]) {}"),
        "a= {} []= {}= ...xs"
    );
    assert_eq!(shown("export function main(a = ({b}, [c]) => ')', d: (x: string, y) => void) {}"), "a= d");
    assert_eq!(shown("export function main(this: Foo, a: {b: string}) {}"), "a");
}

#[test]
fn types_that_json_cannot_say() {
    assert_eq!(
        shown(
            "export function main(a: Date, b: bigint, c?: Date | null, d: (bigint | undefined) = 1n, e: Date | string, f: Foo<Date>, g: any) {}"
        ),
        "a:date b:bigint c:date d:bigint= e f g"
    );
}

#[test]
fn no_source_ends_the_worker() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("!", ""),
        ("-", "-"),
        ("<", ">"),
        ("a=>", ""),
        ("a?", ":1"),
        ("`${", "}`"),
        ("@", ""),
        ("x:", ""),
        ("new ", ""),
        ("if(1)", ""),
        ("((a:", ")=>1)"),
        ("async()=>", ""),
        ("...", ""),
    ] {
        for start in ["export const main = ", "type T = ", ""] {
            let depth = (MAX_SOURCE - 64) / (open.len() + close.len());
            let source = format!("{start}{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(source.len() <= MAX_SOURCE);
            let _ = of_main(&source).unwrap();
        }
    }
}
