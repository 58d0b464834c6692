name="${1:-world}"
echo "greeting $name"
echo "Hello, $name!"
