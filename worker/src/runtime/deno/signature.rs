//! The parameters of an exported `main`, from the syntax tree.

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    BindingPattern, Declaration, ExportNamedDeclaration, Expression, FormalParameter, FormalParameters,
    Function, Program, Statement, TSType, TSTypeAnnotation, TSTypeName, VariableDeclaration,
};
use oxc_parser::Parser;
use oxc_span::SourceType;
use serde::Serialize;

/// One parameter, as the wrapper reads it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Parameter {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    conversion: Option<Conversion>,
    /// Whether it has a default of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
}

/// How a parameter takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// By its name.
    Name,
    /// `{a, b}`: all arguments that no other parameter names.
    Object,
    /// `[a, b]`: the argument `anon<index>`.
    Array,
    /// `...name`.
    Rest,
}

/// What JSON cannot say of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Conversion {
    Date,
    Bigint,
}

/// The longest source that is parsed, in bytes.
pub(super) const MAX_SOURCE: usize = 256 * 1024;

/// The parser recurses, and a source can nest with each of its bytes: it gets this much stack for
/// each (measured: 2.4 KiB, unoptimised). Unused stack costs nothing; too little would end the worker.
const STACK_PER_BYTE: usize = 4 * 1024;
const STACK_BASE: usize = 2 * 1024 * 1024;

/// The parameters; `None` when the source has no such `main`, or one that is not written as a function.
///
/// # Errors
/// No thread could be started for the parser.
pub(super) fn of_main(source: &str) -> std::io::Result<Option<Vec<Parameter>>> {
    let stack = STACK_BASE + STACK_PER_BYTE * source.len().min(MAX_SOURCE);
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().name("parser".into()).stack_size(stack);
        let parser = parser.spawn_scoped(scope, || parse(source))?;
        parser.join().map_err(|_| std::io::Error::other("the parser failed on this source"))
    })
}

fn parse(source: &str) -> Option<Vec<Parameter>> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    exported_main(&parsed.program).map(parameters)
}

fn exported_main<'p>(program: &'p Program<'p>) -> Option<&'p FormalParameters<'p>> {
    program.body.iter().find_map(|statement| match statement {
        Statement::ExportDeclaration(export) => declared(program, &export.declaration, "main", 0),
        Statement::ExportNamedDeclaration(export) => local(program, &local_name(export)?, 0),
        _ => None,
    })
}

/// The local name behind `export { x as main }`.
fn local_name(export: &ExportNamedDeclaration<'_>) -> Option<String> {
    let main = export.specifiers.iter().find(|specifier| specifier.exported.name() == "main")?;
    Some(main.local.name().to_string())
}

/// How many `const a = b` are followed.
const MAX_ALIASES: u8 = 8;

fn local<'p>(program: &'p Program<'p>, name: &str, aliases: u8) -> Option<&'p FormalParameters<'p>> {
    program.body.iter().find_map(|statement| match statement {
        Statement::FunctionDeclaration(function) => implemented(function, name),
        Statement::VariableDeclaration(variables) => variable(program, variables, name, aliases),
        Statement::ExportDeclaration(export) => declared(program, &export.declaration, name, aliases),
        _ => None,
    })
}

fn declared<'p>(
    program: &'p Program<'p>,
    declaration: &'p Declaration<'p>,
    name: &str,
    aliases: u8,
) -> Option<&'p FormalParameters<'p>> {
    match declaration {
        Declaration::FunctionDeclaration(function) => implemented(function, name),
        Declaration::VariableDeclaration(variables) => variable(program, variables, name, aliases),
        _ => None,
    }
}

/// An overload has no body: the implementation's parameters count.
fn implemented<'p>(function: &'p Function<'p>, name: &str) -> Option<&'p FormalParameters<'p>> {
    let named = function.name().is_some_and(|own| own == name);
    (named && function.body.is_some()).then_some(&*function.params)
}

fn variable<'p>(
    program: &'p Program<'p>,
    variables: &'p VariableDeclaration<'p>,
    name: &str,
    aliases: u8,
) -> Option<&'p FormalParameters<'p>> {
    let named = |pattern: &BindingPattern<'_>| matches!(pattern, BindingPattern::BindingIdentifier(id) if id.name == name);
    let declarator = variables.declarations.iter().find(|declarator| named(&declarator.id))?;
    match declarator.init.as_ref()? {
        Expression::Identifier(other) if aliases < MAX_ALIASES => local(program, &other.name, aliases + 1),
        other => function_in(other),
    }
}

fn function_in<'p>(expression: &'p Expression<'p>) -> Option<&'p FormalParameters<'p>> {
    match expression {
        Expression::ArrowFunctionExpression(arrow) => Some(&arrow.params),
        Expression::FunctionExpression(function) => Some(&function.params),
        Expression::ParenthesizedExpression(inner) => function_in(&inner.expression),
        Expression::TSAsExpression(inner) => function_in(&inner.expression),
        Expression::TSSatisfiesExpression(inner) => function_in(&inner.expression),
        _ => None,
    }
}

fn parameters(formal: &FormalParameters<'_>) -> Vec<Parameter> {
    let mut all: Vec<Parameter> = formal.items.iter().map(parameter).collect();
    if let Some(rest) = &formal.rest {
        let name = match &rest.rest.argument {
            BindingPattern::BindingIdentifier(id) => Some(id.name.to_string()),
            _ => None,
        };
        all.push(Parameter { kind: Kind::Rest, name, conversion: None, default: false });
    }
    all
}

fn parameter(formal: &FormalParameter<'_>) -> Parameter {
    let mut default = formal.initializer.is_some();
    let mut pattern = &formal.pattern;
    while let BindingPattern::AssignmentPattern(assignment) = pattern {
        default = true;
        pattern = &assignment.left;
    }
    let (kind, name) = match pattern {
        BindingPattern::BindingIdentifier(id) => (Kind::Name, Some(id.name.to_string())),
        BindingPattern::ObjectPattern(_) => (Kind::Object, None),
        BindingPattern::ArrayPattern(_) | BindingPattern::AssignmentPattern(_) => (Kind::Array, None),
    };
    Parameter { kind, name, conversion: conversion(formal.type_annotation.as_deref()), default }
}

fn conversion(annotation: Option<&TSTypeAnnotation<'_>>) -> Option<Conversion> {
    of_type(&annotation?.type_annotation).ok().flatten()
}

/// What the type asks for; an error if it takes strings as they are.
fn of_type(wanted: &TSType<'_>) -> Result<Option<Conversion>, ()> {
    match wanted {
        TSType::TSBigIntKeyword(_) => Ok(Some(Conversion::Bigint)),
        TSType::TSStringKeyword(_) | TSType::TSAnyKeyword(_) | TSType::TSUnknownKeyword(_) => Err(()),
        TSType::TSTypeReference(reference) => Ok(match &reference.type_name {
            TSTypeName::IdentifierReference(name) if name.name == "Date" => Some(Conversion::Date),
            _ => None,
        }),
        TSType::TSParenthesizedType(inner) => of_type(&inner.type_annotation),
        TSType::TSUnionType(union) => {
            union.types.iter().try_fold(None, |found, member| Ok(found.or(of_type(member)?)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
